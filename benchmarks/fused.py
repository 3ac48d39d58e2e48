"""Does the fused operation keep its promises? Time and memory against timm's SEModule, on this machine, in one process.

    python benchmarks/fused.py [--rounds 15] [--network] [--compiled] [--json results.json]

Contenders are interleaved, round by round; a number is the ratio of medians. "bound" is the time that a plain copy of
as many bytes takes in the same rounds, divided by the time of the fused SAAM: forward 2 reads and a write, backward 4
reads and a write, while a copy is one of each. Targets: SAAM forward and backward at most 0.55 in the geometric mean
and nowhere over 0.8; inference 1.1 and 1.4; fused SE 0.5; against compiled SE 1.15; a whole ResNet-20 step 1.01.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from math import exp, log
from statistics import mean, median

import timm
import torch
from timm.layers import SEModule
from torch import nn

import saam

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


def interleaved(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median seconds of each contender; the first two rounds warm up."""
    times = defaultdict(list)
    for i in range(rounds + 2):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if i >= 2:
                times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def training(module: nn.Module, x: torch.Tensor, dy: torch.Tensor) -> Callable[[], None]:
    """Return a call that runs forward and backward once."""

    def run() -> None:
        x.grad = None
        module(x).backward(dy)

    return run


def inference(module: nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Return a call that runs forward once, without gradient."""

    @torch.no_grad()
    def run() -> None:
        module(x)

    return run


def module_rows(rounds: int, compiled: bool) -> list[dict[str, object]]:
    """Return one row of ratios for every shape and layout."""
    rows = []
    for layout, memory_format in LAYOUTS.items():
        for shape in SHAPES:
            x, dy = (torch.randn(shape).contiguous(memory_format=memory_format) for _ in range(2))
            x.requires_grad_()
            modules = {"timm": SEModule(shape[1], rd_ratio=1 / 16), "saam": saam.SAAM(shape[1]), "se": None}
            modules["se"] = saam.create_attention("se", shape[1])
            nn.init.normal_(modules["saam"].squeeze.weight)
            if compiled:
                modules["compiled"] = torch.compile(SEModule(shape[1], rd_ratio=1 / 16))
            modules = {name: module.to(memory_format=memory_format) for name, module in modules.items()}
            other = torch.empty_like(dy)
            contenders = {f"{name} train": training(module, x, dy) for name, module in modules.items()}
            contenders |= {f"{name} infer": inference(module, x) for name, module in modules.items()}
            contenders["copy"] = lambda other=other, dy=dy: other.copy_(dy)
            t = interleaved(contenders, rounds)
            row = {
                "layout": layout,
                "shape": list(shape),
                "timm train ms": t["timm train"] * 1e3,
                "timm infer ms": t["timm infer"] * 1e3,
                "saam train": t["saam train"] / t["timm train"],
                "saam infer": t["saam infer"] / t["timm infer"],
                "se train": t["se train"] / t["timm train"],
                "se infer": t["se infer"] / t["timm infer"],
                "bound train": 4 * t["copy"] / t["saam train"],
                "bound infer": 1.5 * t["copy"] / t["saam infer"],
            }
            if compiled:
                row["saam train / compiled"] = t["saam train"] / t["compiled train"]
            rows.append(row)
            print(line(row), flush=True)
    return rows


def line(row: dict[str, object]) -> str:
    """Format one row."""
    ratios = "  ".join(f"{key} {value:5.2f}" for key, value in row.items() if isinstance(value, float))
    return f"{row['layout']:13} {row['shape']!s:20} {ratios}"


def summary(rows: list[dict[str, object]]) -> dict[str, dict[str, float]]:
    """Return geometric mean and extreme of every ratio."""
    keys = [key for key, value in rows[0].items() if isinstance(value, float) and not key.endswith("ms")]
    return {
        key: {
            "geometric mean": exp(mean(log(row[key]) for row in rows)),
            "worst": (min if key.startswith("bound") else max)(row[key] for row in rows),
        }
        for key in keys
    }


def network_rows(rounds: int) -> list[dict[str, object]]:
    """Return a ResNet-20 training step with SAAM against the same with timm's SE."""
    rows = []
    for layout, memory_format in LAYOUTS.items():
        x, target = torch.randn(128, 3, 32, 32).contiguous(memory_format=memory_format), torch.randint(10, (128,))
        contenders = {}
        for name in ("timm:se", "saam", "se"):
            model = saam.create_model("resnet20", attention=name, seed=0).to(memory_format=memory_format)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

            def step(
                model: nn.Module = model,
                optimizer: torch.optim.Optimizer = optimizer,
                x: torch.Tensor = x,
                target: torch.Tensor = target,
            ) -> None:
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), target).backward()
                optimizer.step()

            contenders[name] = step
        t = interleaved(contenders, rounds)
        ratios = {f"{name} step": t[name] / t["timm:se"] for name in ("saam", "se")}
        rows.append({"layout": layout, "shape": "ResNet-20, batch 128", **ratios})
        print(line(rows[-1]), flush=True)
    return rows


def peak_memory(name: str) -> int:
    """Return the peak resident kilobytes of a process that does training steps at (16, 256, 56, 56)."""
    command = [sys.executable, __file__, "--step", name]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def step_for_memory(name: str) -> None:
    """Do a few training steps and print the peak."""
    module = SEModule(256, rd_ratio=1 / 16) if name == "timm" else saam.create_attention(name, 256)
    x, dy = torch.randn(16, 256, 56, 56, requires_grad=True), torch.randn(16, 256, 56, 56)
    for _ in range(3):
        training(module, x, dy)()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--network", action="store_true")
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.step:
        return step_for_memory(options.step)
    print(f"fused: {saam.backends()['fused']}, {options.threads} threads")
    rows = module_rows(options.rounds, options.compiled)
    result = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "timm": timm.__version__,
        "saam": saam.__version__,
        "threads": options.threads,
        "modules": rows,
        "summary": summary(rows),
        "peak memory, kB": {name: peak_memory(name) for name in ("timm", "se", "saam")},
    }
    if options.network:
        result["network"] = network_rows(options.rounds)
    for key, value in result["summary"].items():
        print(f"{key:24} geometric mean {value['geometric mean']:.2f}, worst {value['worst']:.2f}")
    print(f"peak memory, kB: {result['peak memory, kB']}")
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)
    return None


if __name__ == "__main__":
    main()
