"""Controls of equal cost: the plain backbone widened to what the focus arm has, in parameters or in time.

"Take a slightly larger network" is the rival that an attention module really has.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from math import ceil, sqrt
from typing import Any

import torch
from torch import nn

from saam._core.devices import Device
from saam.comparison.arm import PLAIN, WIDER, WIDER_TIME
from saam.comparison.costs import measure_costs
from saam.comparison.network import build_model
from saam.comparison.plan import Plan
from saam.measure import count_parameters

__all__ = ["base_widths", "with_controls"]

_TIMED = 6  # widths whose step is timed beside each other
_UNITS = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the width, between two of them


def with_controls(
    plan: Plan,
    *,
    known: Mapping[str, str],
    classes: int,
    image_size: tuple[int, int],
    images: int,
    threads: int = 1,
    device: Device = None,
) -> Plan:
    """Return the plan with the widths of its controls "wider" and "wider:time" spelled out among its aliases.

    Args:
        plan: What is compared; returned as it is where it has no such arm.
        known: Widths that the folder of the comparison has for this focus arm; they are not looked for twice.
        classes: Of the data.
        image_size: (H, W) of the images.
        images: To train on; no batch has more.
        threads: Of torch, for the time.
        device: For the time.

    Raises:
        ValueError: The backbone cannot be widened (it has no ``width``), the focus arm has no attention, or is slower
            than every backbone that was tried.
    """
    wanted = [arm for arm in (WIDER, WIDER_TIME) if arm in plan.arms]
    if not wanted:
        return plan
    base = base_widths(plan, build_model(plan, PLAIN, seed=0, classes=classes))
    aliases = dict(plan.aliases)
    if WIDER in wanted:
        aliases[WIDER] = known.get(WIDER) or _spelled(_as_large(plan, base, classes))
    if WIDER_TIME in wanted:
        settings = {"image_size": image_size, "threads": threads, "device": device}
        aliases[WIDER_TIME] = known.get(WIDER_TIME) or _spelled(_as_slow(plan, base, classes, images, settings))
    return replace(plan, aliases=aliases)


def base_widths(plan: Plan, plain: nn.Module) -> tuple[int, ...]:
    """Return the widths of the plain backbone of a plan, which its controls enlarge.

    Raises:
        ValueError: The backbone has no ``width``, or the focus arm has no attention.
    """
    if plan.arm(plan.focus).control:
        control = next(arm for arm in (WIDER, WIDER_TIME) if arm in plan.arms)
        raise ValueError(
            f"{control!r} is as costly as the focus arm, but that is {plan.focus!r}, which has no attention: choose "
            "another focus arm, as in --focus se (focus='se')"
        )
    widths = getattr(plain, "widths", None)
    if not isinstance(widths, tuple):
        raise ValueError(
            f"{plan.model} cannot be widened, so it has no control 'wider': leave that arm out, or take a CIFAR "
            "ResNet, PreResNet or WRN"
        )
    return widths


def _as_large(plan: Plan, base: tuple[int, ...], classes: int) -> tuple[int, ...]:
    """Return the widths with the fewest parameters that are at least the focus arm's, among those near a common scale.

    Parameters grow between linearly and quadratically in the width; the scale is found by halving.
    """
    target = _parameters(plan, plan.focus, classes)
    ratio = max(1.0, target / _parameters(plan, _spelled(base), classes))
    low, scale = sqrt(ratio) - 1 / max(base), ratio
    while (scale - low) * max(base) > 1 / 2:
        middle = (low + scale) / 2
        widths = tuple(ceil(middle * width) for width in base)
        low, scale = (low, middle) if _parameters(plan, _spelled(widths), classes) >= target else (middle, scale)
    ranges = [range(max(width, int(scale * width) - 1), ceil(scale * width) + 2) for width in base]
    sizes = {widths: _parameters(plan, _spelled(widths), classes) for widths in product(*ranges)}
    return min((widths for widths, size in sizes.items() if size >= target), key=lambda widths: sizes[widths])


def _as_slow(plan: Plan, base: tuple[int, ...], classes: int, images: int, settings: dict[str, Any]) -> tuple[int, ...]:
    """Return the least of some widths whose training step takes as long as that of the focus arm."""
    recipe = plan.recipe.for_images(images)
    for unit in _UNITS:
        grown = [tuple(width + ceil(step * unit * width) for width in base) for step in range(_TIMED + 1)]
        candidates = {_spelled(widths): widths for widths in grown}
        models = {arm: build_model(plan, arm, seed=0, classes=classes) for arm in (PLAIN, plan.focus, *candidates)}
        ratios = {cost.arm: cost.train_step_ratio for cost in measure_costs(models, recipe, seconds=30.0, **settings)}
        slow = [widths for arm, widths in candidates.items() if ratios[arm] >= ratios[plan.focus]]
        if slow:
            return slow[0]
    raise ValueError(
        f"{plan.focus!r} is slower than {plan.model} at four times its width, so it has no control {WIDER_TIME!r}: "
        "leave that arm out"
    )


def _parameters(plan: Plan, arm: str, classes: int) -> int:
    with torch.device("meta"):
        model = build_model(plan, arm, seed=0, classes=classes)
    return count_parameters(model)


def _spelled(widths: tuple[int, ...]) -> str:
    return f"{PLAIN},width=({','.join(map(str, widths))})"
