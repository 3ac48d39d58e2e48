"""Controls of equal cost: the plain backbone widened to what the focus arm has, in parameters or in time.

"Take a slightly larger network" is the rival that an attention module really has.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from math import sqrt
from typing import Any

import torch
from torch import nn

from saam._core.devices import Device
from saam.comparison.arm import PLAIN, WIDER, WIDER_TIME
from saam.comparison.costs import measure_costs
from saam.comparison.job import build_model
from saam.comparison.plan import Plan

__all__ = ["with_controls"]

_TIMED = 6  # widths whose step is timed, up to that of twice the arm's extra parameters and beyond


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
        plan: what is compared; returned as it is where it has no such arm.
        known: aliases that the folder of the comparison has already; a time is not measured twice.
        classes: of the data.
        image_size: (H, W) of the images.
        images: to train on; no batch has more.
        threads: of torch, for the time.
        device: for the time.

    Raises:
        ValueError: the backbone cannot be widened (it has no ``width``), or the focus arm is a control itself.
    """
    wanted = [arm for arm in (WIDER, WIDER_TIME) if arm in plan.arms]
    if not wanted:
        return plan
    if plan.arm(plan.focus).plain:
        raise ValueError(f"{wanted[0]!r} is as large as the focus arm, which is {plan.focus!r}: choose another focus")
    base = _widths(build_model(plan, PLAIN, seed=0, classes=classes), plan)
    aliases = dict(plan.aliases)
    if WIDER in wanted:
        aliases[WIDER] = _spelled(_as_large(plan, base, _parameters(plan, plan.focus, classes), classes))
    if WIDER_TIME in wanted:
        settings = {"image_size": image_size, "threads": threads, "device": device}
        aliases[WIDER_TIME] = known.get(WIDER_TIME) or _spelled(_as_slow(plan, base, classes, images, settings))
    return replace(plan, aliases=aliases)


def _as_large(plan: Plan, base: tuple[int, ...], target: int, classes: int) -> tuple[int, ...]:
    """Return the widths with the fewest parameters that are at least the target, among those near the right scale."""
    scale = sqrt(target / _parameters(plan, _spelled(base), classes))
    ranges = [range(max(width, int(scale * width) - 1), int(scale * width) + 3) for width in base]
    sizes = {widths: _parameters(plan, _spelled(widths), classes) for widths in product(*ranges)}
    return min((widths for widths, size in sizes.items() if size >= target), key=lambda widths: sizes[widths])


def _as_slow(plan: Plan, base: tuple[int, ...], classes: int, images: int, settings: dict[str, Any]) -> tuple[int, ...]:
    """Return the least of some widths whose training step takes as long as that of the focus arm."""
    candidates = {_spelled(base): base}
    for step in range(1, _TIMED + 1):
        widths = tuple(width + max(1, round(step * width / 16)) for width in base)
        candidates[_spelled(widths)] = widths
    models = {arm: build_model(plan, arm, seed=0, classes=classes) for arm in (PLAIN, plan.focus, *candidates)}
    recipe = plan.recipe.replace(batch_size=min(plan.recipe.batch_size, images))
    ratios = {cost.arm: cost.train_step_ratio for cost in measure_costs(models, recipe, seconds=30.0, **settings)}
    slow = [widths for arm, widths in candidates.items() if ratios[arm] >= ratios[plan.focus]]
    return slow[0] if slow else list(candidates.values())[-1]


def _parameters(plan: Plan, arm: str, classes: int) -> int:
    with torch.device("meta"):
        model = build_model(plan, arm, seed=0, classes=classes)
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _widths(model: nn.Module, plan: Plan) -> tuple[int, ...]:
    widths = getattr(model, "widths", None)
    if not isinstance(widths, tuple):
        raise ValueError(
            f"{plan.model} cannot be widened, so it has no control 'wider': leave that arm out, or take a CIFAR "
            "ResNet, PreResNet or WRN"
        )
    return widths


def _spelled(widths: tuple[int, ...]) -> str:
    return f"{PLAIN},width=({','.join(map(str, widths))})"
