"""``saam profile``: measure the costs of attentions."""

from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from saam.cli.numbers import Count
from saam.cli.screen import AsJson, print_json, screen
from saam.comparison import PLAIN, Arm, Plan, measure_costs
from saam.comparison.arm import is_own
from saam.comparison.network import build_model
from saam.training import create_recipe

__all__ = ["command"]


def command(
    *,
    model: str = "resnet20",
    arms: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ("se", "cbam-channel", "eca", "saam"),
    where: str = "residual",
    classes: Count | None = None,
    size: Count = 32,
    batch_size: Count = 128,
    channels_last: bool = False,
    threads: Count = 1,
    device: str | None = None,
    as_json: AsJson = False,
) -> None:
    """Measure the costs of attentions in one network, relative to the plain network.

    Parameters
    ----------
    model
        Backbone (saam list models), with options as in "resnet20,width=32"; package.module:Class for your own.
    arms
        Attentions (saam list), with options as in "eca,squeeze=score"; package.module:Class for your own.
    where
        Placement of the attention.
    classes
        Number of classes. Default: 10, or that of the timm or torchvision network.
    size
        Height and width of the images in pixels.
    batch_size
        Number of images per step.
    channels_last
        Use the channels-last memory order for images and kernels.
    threads
        Number of threads on the CPU.
    device
        Torch device. Default: the best one.
    as_json
        Print only one JSON document on standard output.
    """
    recipe = create_recipe("quick", batch_size=batch_size, channels_last=channels_last)
    sides = tuple({Arm(arm).label: arm for arm in (PLAIN, *arms)}.values())
    plan = Plan.of_texts(model, "photo-digits", recipe, arms=sides, seeds=(0,), where=where, start="default")
    classes = classes or (10 if is_own(plan.model) else None)
    costs = measure_costs(
        {arm: build_model(plan, arm, seed=0, classes=classes) for arm in plan.arms},
        recipe,
        image_size=(size, size),
        threads=threads,
        device=device,
    )
    if as_json:
        print_json({"model": model, "where": where, "costs": [cost.to_json() for cost in costs]})
        return
    table = Table(box=None, pad_edge=False, title=f"{model}, batch {batch_size} of {size}x{size}", title_justify="left")
    for heading in (
        "arm",
        "parameters",
        "million MACs",
        "step ms",
        "ratio",
        "inference ms",
        "ratio",
        "peak MB",
        "ratio",
    ):
        table.add_column(heading, justify="left" if heading == "arm" else "right")
    for cost in costs:
        table.add_row(
            cost.arm,
            f"{cost.parameters:,}",
            f"{cost.macs / 1e6:.2f}",
            f"{cost.train_step_ms:.1f} ± {cost.train_step_spread_ms / 2:.1f}",
            f"{cost.train_step_ratio:.3f}",
            f"{cost.inference_ms:.1f} ± {cost.inference_spread_ms / 2:.1f}",
            f"{cost.inference_ratio:.3f}",
            f"{cost.peak_memory_mb:.1f}",
            f"{cost.peak_memory_ratio:.3f}",
        )
    screen().print(table)
