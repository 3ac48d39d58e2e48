"""Resolve `Recipe.precision = "auto"` to the faster one of "no" and "bf16", once, before the first run.

A few training steps of the network are timed in turns, in float32 and under bfloat16 autocast. The result depends on
processor, memory order and number of threads: without matrix units bfloat16 is often slower.
"""

import copy
from dataclasses import replace
from statistics import median

from torch import nn

from saam._core.devices import Device, require_device, threads_set
from saam._core.random import generators_kept
from saam.comparison.arm import PLAIN
from saam.comparison.network import build_model
from saam.comparison.plan import Plan
from saam.comparison.trial import Trial
from saam.measure import take_turns
from saam.training import Recipe

__all__ = ["resolve_precision", "with_precision"]

_WORTH = 0.95  # bfloat16 is taken if a step takes at most this share of the time in float32
_STEPS, _SECONDS = 15, 20.0


def resolve_precision(
    recipe: Recipe,
    model: nn.Module,
    *,
    image_size: tuple[int, int],
    images: int,
    threads: int | None = None,
    device: Device = None,
    known: str = "",
) -> Recipe:
    """Return the recipe with a precision other than "auto".

    Args:
        recipe: Returned unchanged if its precision is not "auto".
        model: Network to time; it is not changed.
        image_size: (H, W) of the images, which have three channels.
        images: Number of training images, which bounds the batch size.
        threads: Number of torch threads on the CPU, restored at the end; None does not change it.
        device: Name for torch; None means the best one.
        known: Earlier result; if given, nothing is measured.

    Returns:
        The recipe with "bf16" if the median step takes at least 5 % less time, otherwise with "no". A network that does
        not support bfloat16 gets "no".

    Raises:
        ValueError: If the device does not exist.
    """
    if recipe.precision != "auto":
        return recipe
    if known:
        return recipe.replace(precision=known)
    place = require_device(device)
    timed = recipe.for_images(images)
    with threads_set(threads), generators_kept(place):
        plain = Trial(copy.deepcopy(model), timed.replace(precision="no"), image_size, place)
        try:
            half = Trial(copy.deepcopy(model), timed.replace(precision="bf16"), image_size, place)
        except (RuntimeError, TypeError):  # an operation that knows no bfloat16; what else is wrong showed in float32
            return recipe.replace(precision="no")
        steps = {"no": plain.step, "bf16": half.step}
        times = take_turns(steps, rounds=_STEPS, seconds=_SECONDS, device=place)
    faster = median(times["bf16"]) <= _WORTH * median(times["no"])
    return recipe.replace(precision="bf16" if faster else "no")


def with_precision(
    plan: Plan,
    *,
    known: str,
    classes: int,
    image_size: tuple[int, int],
    images: int,
    threads: int = 1,
    device: Device = None,
) -> Plan:
    """Return the plan with a precision that is not "auto": that of its folder, or what is faster in the backbone.

    Args:
        plan: What is compared.
        known: Precision of the comparison that the folder holds; empty where it holds none.
        classes: Of the data.
        image_size: (H, W) of the images.
        images: To train on.
        threads: Of torch in each run.
        device: Of the runs.
    """
    if plan.recipe.precision != "auto":
        return plan
    model = build_model(plan, PLAIN, seed=0, classes=classes)
    recipe = resolve_precision(
        plan.recipe, model, image_size=image_size, images=images, threads=threads, device=device, known=known
    )
    return replace(plan, recipe=recipe)
