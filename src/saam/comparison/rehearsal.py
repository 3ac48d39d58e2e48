"""Rehearse a comparison: build its networks and run the plain one, so that errors show before anything is trained."""

import torch
from torch import Tensor, nn

from saam._core.errors import one_line
from saam.comparison.arm import PLAIN, WIDER, WIDER_TIME
from saam.comparison.controls import base_widths
from saam.comparison.network import build_model
from saam.comparison.plan import Plan
from saam.surgery.probe import at_rest

__all__ = ["try_networks"]


def try_networks(plan: Plan, *, classes: int, image_size: tuple[int, int]) -> nn.Module:
    """Return the plain network, or raise the error that a run would raise when it builds or first calls a network.

    Args:
        plan: The comparison.
        classes: Of the data.
        image_size: (H, W) of the images.

    Raises:
        ValueError: If a network cannot be built, or does not return logits (B, classes) for images of this size.
        TypeError: If the model or an attention does not have an option.
    """
    plain = build_model(plan, PLAIN, seed=0, classes=classes)
    _require_logits(plain, classes, image_size)
    for arm in plan.arms:
        if plan.arm(arm).name in (WIDER, WIDER_TIME):
            base_widths(plan, plain)
        elif arm != PLAIN:
            build_model(plan, arm, seed=0, classes=classes)
    return plain


def _require_logits(model: nn.Module, classes: int, image_size: tuple[int, int]) -> None:
    name, size = type(model).__name__, " x ".join(map(str, image_size))
    with at_rest(model):
        try:
            logits = model(torch.zeros(1, 3, *image_size))
        except Exception as error:  # the network may raise anything
            raise ValueError(
                f"{name} does not run on an image of {size} pixels ({type(error).__name__}: {one_line(error)})"
            ) from error
    got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if got != (1, classes):
        raise ValueError(
            f"{name} must return one logit for each of the {classes} classes, (1, {classes}) for one image, got {got}: "
            "build its last layer with num_classes"
        )
