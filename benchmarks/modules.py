"""What does each attention cost? Time and memory of every registered module, as ratios to se:timm.

    python benchmarks/modules.py                  all modules, written to docs/benchmarks/modules.md
    python benchmarks/modules.py --quick se saam  a few rounds of some modules, printed

One module stands at each stage of a network: three for CIFAR images, four for ImageNet ones. In every round each
contender runs each of the three passes once, in turn, so that all see the same machine; a ratio is taken within a
round. Given are the median over the rounds and, in brackets, the quartiles. Peak memory is the most that one forward
and backward pass allocated at a time, output and gradients included, in multiples of the input's size.
"""

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

import saam
from page import machine, ratios, spread, versions, write_page
from saam.measure import peak_memory, take_turns
from saam.nn import attention_record

REFERENCE = "se:timm"
PAGE = Path(__file__).parent.parent / "docs" / "benchmarks" / "modules.md"
STAGES = {
    "CIFAR": [(16, 32), (32, 16), (64, 8)],
    "ImageNet": [(256, 56), (512, 28), (1024, 14), (2048, 7)],
}
BATCH = {"CIFAR": 64, "ImageNet": 8}
QUICK = {"rounds": 3, "batch": 2}
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PASSES = ("forward", "forward + backward", "inference")


@dataclass
class Contender:
    """One attention at all stages, with the inputs that they see."""

    name: str
    training: list[nn.Module]
    evaluation: list[nn.Module]
    inputs: list[Tensor]
    upstream: list[Tensor]

    def forward(self) -> None:
        """Run all stages as in training."""
        for module, x in zip(self.training, self.inputs, strict=True):
            module(x)

    def both(self) -> None:
        """Run all stages forward and backward."""
        for stage in range(len(self.inputs)):
            self.both_at(stage)

    def both_at(self, stage: int) -> None:
        """Run one stage forward and backward."""
        module, x = self.training[stage], self.inputs[stage]
        torch.autograd.grad(module(x), [x, *module.parameters()], self.upstream[stage])

    def inference(self) -> None:
        """Run all stages in evaluation mode without gradients."""
        with torch.inference_mode():
            for module, x in zip(self.evaluation, self.inputs, strict=True):
                module(x)

    def passes(self) -> tuple[Callable[[], None], ...]:
        """Return the passes in the order of their names."""
        return self.forward, self.both, self.inference

    @property
    def parameters(self) -> int:
        """Number of parameters of all stages."""
        return sum(parameter.numel() for module in self.training for parameter in module.parameters())

    @property
    def peak(self) -> float:
        """Most memory of a forward and backward pass, as a multiple of the input's, over all stages."""
        peaks = 0
        for stage, module in enumerate(self.training):
            there = [self.inputs[stage], self.upstream[stage], *module.parameters(), *module.buffers()]
            peaks += peak_memory(partial(self.both_at, stage), there) - sum(map(size, there))
        return peaks / sum(map(size, self.inputs))


def build(name: str, stages: list[tuple[int, int]], inputs: list[Tensor], upstream: list[Tensor]) -> Contender:
    """Return an attention at all stages, told the stage and the size where it asks for them."""
    record = attention_record(name)
    modules: list[nn.Module] = []
    for stage, (channels, side) in enumerate(stages, 1):
        modules.append(saam.create_attention(name, channels, **record.options_at(size=side, stage=stage)))
    evaluation = [copy.deepcopy(module).eval() for module in modules]
    return Contender(name, modules, evaluation, inputs, upstream)


def size(tensor: Tensor) -> int:
    """Return the bytes of a tensor."""
    return tensor.numel() * tensor.element_size()


def table(names: list[str], images: str, layout: str, rounds: int, batch: int) -> str:
    """Measure all contenders on one kind of maps and return a Markdown table."""
    stages = STAGES[images]
    inputs = [
        torch.randn(batch, channels, side, side).to(memory_format=LAYOUTS[layout]).requires_grad_()
        for channels, side in stages
    ]
    upstream = [torch.randn_like(x) for x in inputs]
    contenders = [build(name, stages, inputs, upstream) for name in names]
    for contender in contenders:
        for run in contender.passes():
            run()
    reference = names.index(REFERENCE)
    times: list[list[list[float]]] = [[] for _ in names]
    for which in range(len(PASSES)):
        passes = {str(place): contender.passes()[which] for place, contender in enumerate(contenders)}
        measured = take_turns(passes, rounds=rounds, minimum=1, repeat=0.003)
        for found, seconds in zip(times, measured.values(), strict=True):
            found.append([1000 * value for value in seconds])

    lines = [
        f"| {images}, {layout} | parameters | " + " | ".join(PASSES) + " | peak memory |",
        "|---|---:|" + "---:|" * (len(PASSES) + 1),
    ]
    absolute = " | ".join(f"{median(found):.3g} ms" for found in times[reference])
    lines.append(f"| {REFERENCE} itself | | {absolute} | |")
    for contender, found in zip(contenders, times, strict=True):
        relative = " | ".join(map(spread, map(ratios, found, times[reference])))
        lines.append(f"| {contender.name} | {contender.parameters:,} | {relative} | {contender.peak:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, and write the page or print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="attentions to measure; default: all that are registered, and timm:se")
    parser.add_argument("--quick", action="store_true", help="three rounds with small batches, printed")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, help=f"default: {PAGE.relative_to(PAGE.parents[2])}; with --quick: printed")
    options = parser.parse_args()
    for name in options.names:
        attention_record(name)

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    names = options.names or saam.list_attentions() + (["timm:se"] if find_spec("timm") else [])
    names = [REFERENCE, *(name for name in names if name != REFERENCE)]
    rounds = QUICK["rounds"] if options.quick else options.rounds
    batch = {images: QUICK["batch"] if options.quick else BATCH[images] for images in STAGES}
    tables = [table(names, images, layout, rounds, batch[images]) for images in STAGES for layout in LAYOUTS]
    batches = ", ".join(f"{images} {count}" for images, count in batch.items())
    shapes = "; ".join(
        f"{images} {', '.join(f'{channels}x{side}x{side}' for channels, side in stages)}"
        for images, stages in STAGES.items()
    )
    backends = ", ".join(f"{name}: {state}" for name, state in saam.backends().items())
    facts = {
        "machine": machine(options.threads),
        "versions": versions(),
        "backends": backends,
        "date": f"{datetime.now(UTC):%Y-%m-%d}; {rounds} rounds; batch: {batches}; float32",
        "maps": shapes,
    }
    out = options.out or (None if options.quick else PAGE)
    write_page(out, "What the modules cost", __doc__.split("\n\n")[2], facts, *tables)


if __name__ == "__main__":
    main()
