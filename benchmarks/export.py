"""What does an exported network cost? Latency of ONNX Runtime, in float32 and int8, against PyTorch.

    python benchmarks/export.py            written to docs/benchmarks/export.md
    python benchmarks/export.py --quick    a few rounds of the small network, printed

One image at a time, one thread, on the CPU. In every round each contender of a network classifies the image in turn,
repeatedly for at least 20 ms, so that all see the same machine; a ratio is taken within a round. Given are the median
over the rounds and, in brackets, the quartiles. PyTorch computes in inference mode, with the fused operations where it
has them. The int8 networks are calibrated on random images, which changes their accuracy but not their speed. All
weights are random, those of the scorers too.
"""

import argparse
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor, nn

import saam
from page import machine, ratios, spread, versions, write_page
from saam.export import OnnxNetwork, to_int8, to_onnx
from saam.measure import take_turns
from saam.models import Preprocessing

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "export.md"
NETWORKS = {"resnet20": 32, "timm:resnet18": 224}
ARMS = ("none", "se", "saam")
HEADINGS = (
    *("PyTorch ms", "ONNX ms", "ONNX / PyTorch", "ONNX / ONNX without attention"),
    *("int8 ms", "int8 / ONNX", "ONNX MB", "int8 MB"),
)
SECONDS = 0.02  # a contender repeats for so long in each round


def network(name: str, arm: str, classes: int) -> nn.Module:
    """Return a network in evaluation mode with random weights, scorers included."""
    built = saam.create_model(name, attention=arm, num_classes=classes, seed=0).eval()
    for module in built.modules():
        if isinstance(module, saam.ScorePool2d) and module.weight is not None:
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    return built


def inference(model: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return a call that classifies x once."""

    @torch.inference_mode()
    def run() -> None:
        model(x)

    return run


def rows(name: str, side: int, folder: Path, rounds: int) -> list[str]:
    """Export a network with each attention, time all of them in turns, and return the rows of the table."""
    known = Preprocessing((side, side), (0.5,) * 3, (0.25,) * 3, tuple(map(str, range(10))))
    images = torch.randn(32, 3, side, side, generator=torch.Generator().manual_seed(0))
    works, sizes = {}, {}
    for arm in ARMS:
        model = network(name, arm, len(known.classes))
        exact = to_onnx(model, folder / f"{side}-{arm}.onnx", preprocessing=known)
        small = to_int8(model, folder / f"{side}-{arm}.int8.onnx", images, preprocessing=known)
        works["PyTorch", arm] = inference(model, images[:1])
        works["ONNX", arm] = inference(OnnxNetwork(exact.path, threads=1), images[:1])
        works["int8", arm] = inference(OnnxNetwork(small.path, threads=1), images[:1])
        sizes[arm] = f"{exact.size / 1e6:.2f} | {small.size / 1e6:.2f}"
    take_turns(works, rounds=2, minimum=1, repeat=SECONDS)
    times = take_turns(works, rounds=rounds, minimum=1, repeat=SECONDS)
    lines = []
    for arm in ARMS:
        torch_times, onnx_times, int8_times = (times[kind, arm] for kind in ("PyTorch", "ONNX", "int8"))
        found = (
            [1000 * time for time in torch_times],
            [1000 * time for time in onnx_times],
            ratios(onnx_times, torch_times),
            ratios(onnx_times, times["ONNX", "none"]),
            [1000 * time for time in int8_times],
            ratios(int8_times, onnx_times),
        )
        lines.append(f"| {name}, {side} px | {arm} | {' | '.join(map(spread, found))} | {sizes[arm]} |")
    return lines


def table(names: list[str], rounds: int) -> str:
    """Measure networks, and return the table."""
    lines = [
        f"| network | attention | {' | '.join(HEADINGS)} |",
        f"|---|---|{'---:|' * len(HEADINGS)}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            lines += rows(name, NETWORKS[name], Path(folder), rounds)
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the page or print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="three rounds of the small network, printed")
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rounds = 3 if options.quick else options.rounds
    measured = table([*NETWORKS][:1] if options.quick else [*NETWORKS], rounds)
    facts = {
        "machine": machine(1),
        "versions": versions("onnxruntime", "onnxscript"),
        "backends": ", ".join(f"{name}: {state}" for name, state in saam.backends().items()),
        "date": f"{datetime.now(UTC):%Y-%m-%d}; {rounds} rounds; batch 1",
    }
    out = None if options.quick else PAGE
    write_page(out, "What an exported network costs", __doc__.split("\n\n")[2], facts, measured)


if __name__ == "__main__":
    main()
