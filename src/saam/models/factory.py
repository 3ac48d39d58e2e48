"""Networks by name, with attention put in."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from saam._errors import nearest
from saam.models.cifar_resnet import CifarResNet
from saam.nn import parse_attention
from saam.surgery import attach

__all__ = ["create_model"]


def create_model(
    name: str,
    *,
    attention: str | Callable[[int], nn.Module] | None = None,
    num_classes: int = 10,
    where: str = "residual",
    start: Literal["identity", "default"] = "default",
    seed: int | None = None,
    **options: Any,
) -> nn.Module:
    """Build a network, and put attention into it.

    Args:
        name: ``resnet8``, ``resnet20`` and so on, a CIFAR ResNet of 6n+2 layers.
        attention: None or "none", a registered name with options as in ``"saam,heads=4"``, or a function of the channels.
        num_classes: width of the classifier.
        where, start: see :func:`saam.attach`; a network that is trained from scratch starts as "default".
        seed: draws the initial weights. The backbone's depend on the seed alone, whatever the attention, and the
            attention's come from a generator of their own; the global generator stays as it was.
        options: of the backbone, such as ``width``.

    Returns:
        The network, (B, 3, H, W) -> logits (B, num_classes).

    Raises:
        ValueError: an unknown network or attention.

    Example:
        >>> model = create_model("resnet20", attention="saam")
        >>> sum(parameter.numel() for parameter in model.parameters())
        275183
    """
    chosen: dict[str, Any] = {}
    if isinstance(attention, str):
        attention, chosen = (None, {}) if attention == "none" else parse_attention(attention)
    with _seeded(seed):
        model = _backbone(name, num_classes, options)
    if attention is not None:
        with _seeded(None if seed is None else seed + 2**31):
            attach(model, attention, where=where, start=start, **chosen)
    return model


def _backbone(name: str, num_classes: int, options: dict[str, Any]) -> nn.Module:
    depth = re.fullmatch(r"resnet(\d+)", name)
    if not depth:
        known = [f"resnet{6 * n + 2}" for n in (1, 2, 3, 5, 7, 9, 18)]
        raise ValueError(
            f"unknown model {name!r}: {nearest(name, known)}known: {', '.join(known)} and any other resnet of 6n+2 layers"
        )
    return CifarResNet(int(depth[1]), num_classes=num_classes, **options)


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw from a generator of this seed, and leave the global one as it was; with None, draw from the global one."""
    if seed is None:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
