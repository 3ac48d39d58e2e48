"""What does the fused operation save? Time and memory of SAAM and SE against timm's SEModule.

    python benchmarks/fused.py                   written to docs/benchmarks/fused.md
    python benchmarks/fused.py --quick           a few rounds of small batches, printed
    python benchmarks/fused.py --saam heads=8    a SAAM with these options, printed

Contenders take turns, round by round, in one process; a number is the ratio of the medians to those of timm's SEModule
(rd_ratio 1/16), or to those of the module after the stroke, so below 1 is faster. "train" is forward and backward.
"compiled eager SAAM" is the rival of the fused operation: SAAM in eager PyTorch, its definition, through torch.compile.
Each map has its compiled modules to itself; they compile in the rounds that warm up, and a recompilation after these is
an error. "of the bound" is the time that memory traffic alone would take, over the time of the fused SAAM: a step reads
a map six times and writes two new ones, inference reads twice and writes one. That traffic is measured in the same
rounds by plain copies, of which each new map counts as one to new memory and two further reads count as one to memory
that is there. Peak memory is the highest resident size of a process of its own that makes three training steps. The
network is a ResNet-20 with batches of 128 CIFAR images; a step is forward, backward and SGD.
"""

import argparse
import copy
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import exp, log, prod
from pathlib import Path
from statistics import mean, median
from typing import Literal, NamedTuple

import torch
from timm.layers import SEModule
from torch import Tensor, nn

import saam
from page import machine, versions, write_page
from saam.measure import take_turns

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
HEADS = 4
"""Of the SAAM that is measured beside the one with a single head."""
MEMORY_SHAPE = (16, 256, 56, 56)


Rows = dict[tuple[tuple[int, ...], str], dict[str, float]]
"""Milliseconds and ratios by column, for each shape and layout."""


class Bar(NamedTuple):
    """What a column has to reach: at most so much, or at least so much for a share of the bound."""

    column: str
    over: Literal["geometric mean", "worst", "largest map"]
    limit: float


BARS = (
    Bar("SAAM train", "geometric mean", 0.55),
    Bar("SAAM train", "worst", 0.80),
    Bar("SAAM inference", "geometric mean", 1.10),
    Bar("SAAM inference", "worst", 1.40),
    Bar("SE train", "geometric mean", 0.50),
    Bar("SAAM train / compiled SE", "geometric mean", 1.15),
    Bar("of the bound, train", "largest map", 0.70),
)


class Eager(nn.Module):
    """A module computed by its definition in eager PyTorch, whatever backend the library would choose."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @saam.use_backend("eager")
    def forward(self, x: Tensor) -> Tensor:
        """Call the module on ``x`` (B, C, H, W)."""
        return self.module(x)


def medians(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each contender, after two rounds to warm up.

    Raises:
        RuntimeError: a compiled contender is compiled again in a round that counts.
    """
    for run in [*contenders.values()] * 2:
        run()
    with torch.compiler.set_stance("fail_on_recompile"):
        times = take_turns(contenders, rounds=rounds, minimum=1)
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


def saam_for(channels: int, attention: str) -> nn.Module:
    """Return a SAAM, named with its options, that is not at its start: on normal maps its scores are normal too."""
    module = saam.create_attention(attention, channels)
    weight = module.squeeze.weight
    nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return module


def contenders_for(channels: int, attention: str = "saam") -> dict[str, nn.Module]:
    """Return the modules that are measured, SAAM among them with its options."""
    return {
        "timm": SEModule(channels, rd_ratio=1 / 16),
        "SAAM": saam_for(channels, attention),
        "SE": saam.create_attention("se", channels),
    }


def compiled(module: nn.Module) -> nn.Module:
    """Return a module that compiles itself for the shape that it sees first."""
    return torch.compile(module, dynamic=False)


def module_row(
    shape: tuple[int, ...], memory_format: torch.memory_format, rounds: int, attention: str = "saam"
) -> dict[str, float]:
    """Return milliseconds and ratios for one shape."""
    torch._dynamo.reset()
    x, dy = (torch.randn(shape).contiguous(memory_format=memory_format) for _ in range(2))
    x.requires_grad_()
    modules = contenders_for(shape[1], attention)
    modules["compiled SE"] = compiled(SEModule(shape[1], rd_ratio=1 / 16))
    modules["compiled eager SAAM"] = compiled(Eager(copy.deepcopy(modules["SAAM"])))
    if attention == "saam":
        modules["SAAM of more heads"] = saam_for(shape[1], f"saam,heads={HEADS}")
    modules = {name: module.to(memory_format=memory_format) for name, module in modules.items()}
    contenders = {f"{name} train": training(module, x, dy) for name, module in modules.items()}
    contenders |= {f"{name} inference": inference(module, x) for name, module in modules.items()}
    there = torch.empty_like(dy)
    t = medians(contenders | {"new": dy.clone, "copy": lambda: there.copy_(dy)}, rounds)

    def ratio(name: str, other: str, work: str) -> float:
        return t[f"{name} {work}"] / t[f"{other} {work}"]

    works = ("train", "inference")
    row = {f"timm {work}, ms": t[f"timm {work}"] * 1e3 for work in works}
    row |= {f"{name} {work}": ratio(name, "timm", work) for work in works for name in ("SAAM", "SE")}
    for other in ("compiled SE", "compiled eager SAAM"):
        row |= {f"SAAM {work} / {other}": ratio("SAAM", other, work) for work in works}
    if attention == "saam":
        row |= {f"{HEADS} heads / 1, {work}": ratio("SAAM of more heads", "SAAM", work) for work in works}
    row["of the bound, train"] = (2 * t["new"] + 2 * t["copy"]) / t["SAAM train"]
    row["of the bound, inference"] = (t["new"] + t["copy"] / 2) / t["SAAM inference"]
    return row


def module_rows(shapes: list[tuple[int, ...]], rounds: int, attention: str = "saam") -> Rows:
    """Measure every shape in both layouts."""
    return {
        (shape, layout): module_row(shape, memory_format, rounds, attention)
        for layout, memory_format in LAYOUTS.items()
        for shape in shapes
    }


def more_is_better(column: str) -> bool:
    """Whether a column counts how much of a bound is reached."""
    return column.startswith("of the bound")


def over(rows: Rows, column: str, how: str) -> float:
    """Return the geometric mean of a column, or its worst value: of all maps or of the largest."""
    if how == "geometric mean":
        return exp(mean(log(row[column]) for row in rows.values()))
    largest = max(prod(shape) for shape, _ in rows)
    chosen = [row[column] for (shape, _), row in rows.items() if how == "worst" or prod(shape) == largest]
    return min(chosen) if more_is_better(column) else max(chosen)


def module_table(rows: Rows) -> str:
    """Return a Markdown table of all maps, with the geometric mean and the worst of each ratio."""
    columns = list(next(iter(rows.values())))
    lines = [f"| map | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for (shape, layout), row in rows.items():
        name = f"{' x '.join(map(str, shape))}, {layout}"
        lines.append(f"| {name} | {' | '.join(f'{row[column]:.2f}' for column in columns)} |")
    for how in ("geometric mean", "worst"):
        cells = ("" if column.endswith(", ms") else f"{over(rows, column, how):.2f}" for column in columns)
        lines.append(f"| **{how}** | {' | '.join(cells)} |")
    return "\n".join(lines)


def bar_table(rows: Rows, bars: Sequence[Bar] = BARS) -> str:
    """Say of each bar whether it is met, in a Markdown table."""
    lines = ["| bar | measured | limit | met |", "|---|---:|---:|---|"]
    for bar in bars:
        found, least = over(rows, bar.column, bar.over), more_is_better(bar.column)
        met = found >= bar.limit if least else found <= bar.limit
        limit = f"at {'least' if least else 'most'} {bar.limit:.2f}"
        lines.append(f"| {bar.column}, {bar.over} | {found:.3f} | {limit} | {'yes' if met else '**no**'} |")
    return "\n".join(lines)


def overhead_table(rounds: int, attention: str = "saam") -> str:
    """Measure the modules on one pixel, where nothing but calls takes time, and return a Markdown table."""
    x, dy = torch.randn(1, 16, 1, 1, requires_grad=True), torch.randn(1, 16, 1, 1)
    modules = contenders_for(16, attention)
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


def network_table(batch: int, rounds: int, attention: str = "saam") -> str:
    """Measure a training step of ResNet-20 with each attention and return a Markdown table."""
    reference = "timm's SE"
    names = {reference: "timm:se", "SAAM": attention, "SE": "se", "none": None}
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


def memory_table(threads: int, attention: str) -> str:
    """Return the peak resident memory of a process for each contender, as a Markdown table."""
    names = list(contenders_for(16))
    _, _, options = attention.partition(",")
    cells = []
    for name in names:
        command = [sys.executable, __file__, "--peak-of", name, "--threads", str(threads), "--saam", options]
        kilobytes = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        cells.append(f"{kilobytes / 1024:.0f} MiB")
    shape = " x ".join(map(str, MEMORY_SHAPE))
    return f"| peak memory, {shape} | {' | '.join(names)} |\n|---|{'---:|' * len(names)}\n| | {' | '.join(cells)} |"


def peak_of(name: str, attention: str = "saam") -> int:
    """Make training steps and return the peak resident kilobytes of this process."""
    module = contenders_for(MEMORY_SHAPE[1], attention)[name]
    x, dy = torch.randn(MEMORY_SHAPE, requires_grad=True), torch.randn(MEMORY_SHAPE)
    for _ in range(3):
        training(module, x, dy)()
    # Not getrusage, whose peak is that of the parent process if that was higher.
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def settle_allocator() -> None:
    """Free a block of 31 MiB, after which glibc serves all smaller ones from its heap.

    It raises that bound only as blocks are freed: in the first case some contenders had new memory at every call and
    others had not, by luck, which made twice the time of an inference.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def main() -> None:
    """Measure, and write the page or print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few rounds with small batches, printed")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--saam", default="", metavar="OPTION=VALUE,...", help="options of the SAAM; default: none")
    parser.add_argument("--out", type=Path, help="default: the page; with --quick or --saam: printed")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    attention = f"saam,{options.saam}" if options.saam else "saam"
    if options.peak_of:
        print(peak_of(options.peak_of, attention))
        return
    rounds = 3 if options.quick else options.rounds
    shapes = [(2, *shape[1:]) for shape in SHAPES[::3]] if options.quick else SHAPES
    settle_allocator()
    rows = module_rows(shapes, rounds, attention)
    tables = (
        bar_table(rows),
        module_table(rows),
        overhead_table(rounds, attention),
        network_table(8 if options.quick else 128, rounds, attention),
        memory_table(options.threads, attention),
    )
    facts = {
        "machine": machine(options.threads),
        "versions": versions("timm"),
        "fused": saam.backends()["fused"],
        "SAAM": attention,
        "date": f"{datetime.now(UTC):%Y-%m-%d}; {rounds} rounds; float32",
    }
    out = options.out or (None if options.quick or options.saam else PAGE)
    write_page(out, "What the fused operation saves", __doc__.split("\n\n")[2], facts, *tables)


if __name__ == "__main__":
    main()
