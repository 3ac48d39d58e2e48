"""What does the fused operation save? Time and memory of SAAM and SE against timm's SEModule.

    python benchmarks/fused.py            written to docs/benchmarks/fused.md
    python benchmarks/fused.py --quick    a few rounds of small batches, printed

Contenders take turns, round by round, in one process; a number is the ratio of the medians to those of timm's SEModule
(rd_ratio 1/16), so below 1 is faster. "of the bound" is the time that memory traffic alone would take, over the time of
the fused SAAM: a step reads a map six times and writes two new ones, inference reads twice and writes one. That traffic
is measured in the same rounds by plain copies, of which each new map counts as one to new memory and two further reads
count as one to memory that is there. Peak memory is the highest resident
size of a process of its own that makes three training steps. The network is a ResNet-20 with batches of 128 CIFAR
images; a step is forward, backward and SGD.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from math import exp, log
from pathlib import Path
from statistics import mean, median

import timm
import torch
from timm.layers import SEModule
from torch import Tensor, nn

import saam
from modules import machine

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "fused.md"
SHAPES = [
    (128, 16, 32, 32),
    (128, 32, 16, 16),
    (128, 64, 8, 8),
    (16, 64, 56, 56),
    (16, 256, 56, 56),
    (16, 512, 28, 28),
    (16, 2048, 7, 7),
]
LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


TARGETS = {  # geometric mean and worst; of the bound, at least
    "SAAM train": "0.55, 0.80",
    "SAAM inference": "1.10, 1.40",
    "SE train": "0.50",
    "SAAM train / compiled SE": "1.15",
    "of the bound, train": "0.70 at the largest",
}
MEMORY_SHAPE = (16, 256, 56, 56)


def medians(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each contender; the first two rounds warm up."""
    times = defaultdict(list)
    for i in range(rounds + 2):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if i >= 2:
                times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def training(module: nn.Module, x: Tensor, dy: Tensor) -> Callable[[], None]:
    """Return a call that runs forward and backward once."""

    def run() -> None:
        x.grad = None
        module(x).backward(dy)

    return run


def inference(module: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return a call that runs forward once, without gradient."""

    @torch.no_grad()
    def run() -> None:
        module(x)

    return run


def contenders_for(channels: int) -> dict[str, nn.Module]:
    """Return the modules that are measured, none of them at its start."""
    modules = {"timm": SEModule(channels, rd_ratio=1 / 16), "SAAM": saam.SAAM(channels)}
    nn.init.normal_(modules["SAAM"].squeeze.weight)
    return modules | {"SE": saam.create_attention("se", channels)}


def module_row(shape: tuple[int, ...], memory_format: torch.memory_format, rounds: int) -> dict[str, float]:
    """Return milliseconds and ratios for one shape."""
    torch._dynamo.reset()
    x, dy = (torch.randn(shape).contiguous(memory_format=memory_format) for _ in range(2))
    x.requires_grad_()
    modules = contenders_for(shape[1])
    modules["compiled SE"] = torch.compile(SEModule(shape[1], rd_ratio=1 / 16))
    modules = {name: module.to(memory_format=memory_format) for name, module in modules.items()}
    contenders = {f"{name} train": training(module, x, dy) for name, module in modules.items()}
    contenders |= {f"{name} inference": inference(module, x) for name, module in modules.items()}
    there = torch.empty_like(dy)
    t = medians(contenders | {"new": dy.clone, "copy": lambda: there.copy_(dy)}, rounds)
    ratios = {
        f"{name} {work}": t[f"{name} {work}"] / t[f"timm {work}"]
        for work in ("train", "inference")
        for name in ("SAAM", "SE")
    }
    return {
        "timm train, ms": t["timm train"] * 1e3,
        "timm inference, ms": t["timm inference"] * 1e3,
        **ratios,
        "SAAM train / compiled SE": t["SAAM train"] / t["compiled SE train"],
        "of the bound, train": (2 * t["new"] + 2 * t["copy"]) / t["SAAM train"],
        "of the bound, inference": (t["new"] + t["copy"] / 2) / t["SAAM inference"],
    }


def module_table(shapes: list[tuple[int, ...]], rounds: int) -> str:
    """Measure every shape in both layouts and return a Markdown table."""
    rows = {
        f"{' x '.join(map(str, shape))}, {layout}": module_row(shape, memory_format, rounds)
        for layout, memory_format in LAYOUTS.items()
        for shape in shapes
    }
    columns = list(next(iter(rows.values())))
    lines = [f"| map | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{row[column]:.2f}' for column in columns)} |")
    values = {column: [row[column] for row in rows.values()] for column in columns if not column.endswith("ms")}
    means = {column: exp(mean(map(log, found))) for column, found in values.items()}
    worst = {column: (min if "bound" in column else max)(found) for column, found in values.items()}
    for title, found in (("geometric mean", means), ("worst", worst)):
        cells = (f"{found[column]:.2f}" if column in found else "" for column in columns)
        lines.append(f"| **{title}** | {' | '.join(cells)} |")
    lines.append(f"| goal (mean, worst) | {' | '.join(TARGETS.get(column, '') for column in columns)} |")
    return "\n".join(lines)


def overhead_table(rounds: int) -> str:
    """Measure the modules on one pixel, where nothing but calls takes time, and return a Markdown table."""
    x, dy = torch.randn(1, 16, 1, 1, requires_grad=True), torch.randn(1, 16, 1, 1)
    modules = contenders_for(16)
    train = medians({name: training(module, x, dy) for name, module in modules.items()}, 20 * rounds)
    infer = medians({name: inference(module, x) for name, module in modules.items()}, 20 * rounds)
    lines = [f"| one pixel, ms | {' | '.join(modules)} |", f"|---|{'---:|' * len(modules)}"]
    for title, found in (("train", train), ("inference", infer)):
        lines.append(f"| {title} | {' | '.join(f'{found[name] * 1e3:.2f}' for name in modules)} |")
    return "\n".join(lines)


def network_step(model: nn.Module, x: Tensor, target: Tensor) -> Callable[[], None]:
    """Return a call that makes one training step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def run() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), target).backward()
        optimizer.step()

    return run


def network_table(batch: int, rounds: int) -> str:
    """Measure a training step of ResNet-20 with each attention and return a Markdown table."""
    reference = "timm's SE"
    names = {reference: "timm:se", "SAAM": "saam", "SE": "se", "none": None}
    lines = [f"| ResNet-20 step | {' | '.join(names)} |", f"|---|{'---:|' * len(names)}"]
    for layout, memory_format in LAYOUTS.items():
        x = torch.randn(batch, 3, 32, 32).contiguous(memory_format=memory_format)
        target = torch.randint(10, (batch,))
        contenders = {}
        for label, name in names.items():
            model = saam.create_model("resnet20", attention=name, seed=0).to(memory_format=memory_format)
            contenders[label] = network_step(model, x, target)
        t = medians(contenders, rounds)
        cells = (f"{t[label] / t[reference]:.3f}" for label in names)
        lines.append(f"| {layout}, {t[reference] * 1e3:.0f} ms | {' | '.join(cells)} |")
    return "\n".join(lines)


def memory_table(threads: int) -> str:
    """Return the peak resident memory of a process for each contender, as a Markdown table."""
    names = list(contenders_for(16))
    cells = []
    for name in names:
        command = [sys.executable, __file__, "--peak-of", name, "--threads", str(threads)]
        kilobytes = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        cells.append(f"{kilobytes / 1024:.0f} MiB")
    shape = " x ".join(map(str, MEMORY_SHAPE))
    return f"| peak memory, {shape} | {' | '.join(names)} |\n|---|{'---:|' * len(names)}\n| | {' | '.join(cells)} |"


def peak_of(name: str) -> int:
    """Make training steps and return the peak resident kilobytes of this process."""
    module = contenders_for(MEMORY_SHAPE[1])[name]
    x, dy = torch.randn(MEMORY_SHAPE, requires_grad=True), torch.randn(MEMORY_SHAPE)
    for _ in range(3):
        training(module, x, dy)()
    # Not getrusage, whose peak is that of the parent process if that was higher.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def main() -> None:
    """Measure, and write the page or print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few rounds with small batches, printed")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    if options.peak_of:
        print(peak_of(options.peak_of))
        return
    rounds = 3 if options.quick else options.rounds
    shapes = [(2, *shape[1:]) for shape in SHAPES[::3]] if options.quick else SHAPES
    page = "\n\n".join(
        [
            "# What the fused operation saves",
            __doc__.split("\n\n")[2].strip(),
            f"- machine: {machine()}, {os.cpu_count()} processors, {options.threads} threads; {platform.platform()}\n"
            f"- versions: saam {saam.__version__}, torch {torch.__version__}, timm {timm.__version__}\n"
            f"- fused: {saam.backends()['fused']}\n"
            f"- date: {datetime.now(UTC):%Y-%m-%d}; {rounds} rounds; float32",
            module_table(shapes, rounds),
            overhead_table(rounds),
            network_table(8 if options.quick else 128, rounds),
            memory_table(options.threads),
        ]
    )
    if options.quick:
        print(page)
    else:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(page + "\n")
        print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
