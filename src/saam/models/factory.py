"""Create networks by name, with attention."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from saam._core.options import parse_options, require_options
from saam._core.random import seeded
from saam.models.backbones import build_backbone
from saam.nn import ScorePool2d, parse_attention
from saam.surgery import attach, new_parameters, upgrade
from saam.surgery.attach import Attention, Start
from saam.surgery.sites import Where

__all__ = ["ModelCard", "create_model", "model_card", "untrained_parameters"]


@dataclass(frozen=True)
class ModelCard:
    """What is needed to rebuild a network, without its attention."""

    name: str
    num_classes: int | None
    options: dict[str, Any] = field(default_factory=dict)
    untrained: tuple[str, ...] = ()
    """Names of the backbone's parameters that pretrained weights did not fill."""


def create_model(
    name: str | Callable[..., nn.Module],
    *,
    attention: Attention | None = None,
    num_classes: int | None = None,
    pretrained: bool = False,
    where: Where = "residual",
    start: Start | None = None,
    head: str | None = None,
    seed: int | None = None,
    **options: Any,
) -> nn.Module:
    """Build a network, optionally with attention.

    Args:
        name: A name of :func:`saam.list_models`, such as ``resnet20`` for a CIFAR ResNet of 6n+2 layers; ``timm:NAME``
            or ``torchvision:NAME``; or your own class or function that takes the options and returns the network.
        attention: None or "none", a registered name with options as in ``"saam,heads=4"``, or a function of the
            channels.
        num_classes: Width of the classifier, 1 or more. None means 10, or the default of a timm or torchvision network.
        pretrained: Whether to load the pretrained weights of timm or torchvision.
        where: See :func:`saam.attach`.
        start: See :func:`saam.attach`. None means "identity" in a pretrained network, and "default", as in the papers,
            in a network that is trained from scratch.
        head: Squeeze that replaces the global average pooling before the classifier, as in "score" or "score,heads=4".
            None or "mean" keeps the pooling. See :func:`saam.upgrade`.
        seed: Seed of the initial weights, a whole number. The weights of the backbone depend only on the seed, not on
            the attention, whose weights come from a separate generator. The global generator is not changed.
        options: Options of the backbone, such as ``width`` of a CIFAR ResNet or ``drop_path_rate`` of a timm network.

    Returns:
        The network, (B, 3, H, W) -> logits (B, num_classes).

    Raises:
        ValueError: If the network or attention is unknown, there is no site for the attention, there are no pretrained
            weights, the network has no pooling module before its classifier, or the number of classes or the seed is
            invalid.
        TypeError: If the backbone has no such option.
        ModuleNotFoundError: If the library of the network is not installed.

    Example:
        >>> model = create_model("resnet20", attention="saam")
        >>> sum(parameter.numel() for parameter in model.parameters())
        275183
    """
    if num_classes is not None and not (_is_whole(num_classes) and num_classes > 0):
        raise ValueError(
            f"num_classes must be a whole number above 0, or None, got {num_classes!r}; for a network without a "
            "classifier, build it yourself and attach to it"
        )
    if seed is not None and not _is_whole(seed):
        raise ValueError(f"seed must be a whole number, or None, got {seed!r}")
    chosen: dict[str, Any] = {}
    if isinstance(attention, str):
        attention, chosen = (None, {}) if attention == "none" else parse_attention(attention)
    with seeded(seed):
        if isinstance(name, str):
            model = build_backbone(name, num_classes=num_classes, pretrained=pretrained, options=options)
        else:
            model = name(**_accepted(name, {"num_classes": num_classes, "pretrained": pretrained or None}), **options)
    if isinstance(name, str):
        fresh = _replaced(model, name, options) if pretrained and num_classes is not None else ()
        card = ModelCard(name, num_classes, {**options, **_hidden_options(model)}, fresh)
        model.saam_card = card  # type: ignore[assignment]
    if attention is not None:
        with seeded(None if seed is None else seed + 2**31):
            attach(model, attention, where=where, start=start or ("identity" if pretrained else "default"), **chosen)
    if head is not None and not isinstance(head, str):
        raise TypeError(f"head must be the name of a squeeze, as in 'score' or 'score,heads=4', or None, got {head!r}")
    if head is not None and head != "mean":
        squeeze, settings = parse_options(head)
        require_options("the score squeeze", ScorePool2d, settings)
        upgrade(model, squeeze=squeeze, head=True, where=[], **settings)
    return model


def model_card(model: nn.Module) -> ModelCard | None:
    """Return the card of a network built by :func:`create_model`; None for other networks."""
    card = getattr(model, "saam_card", None)
    return card if isinstance(card, ModelCard) else None


def untrained_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the untrained parameters of a pretrained network: attention, and a new classifier.

    They need a larger learning rate than the rest: pass their names to ``saam.training.parameter_groups``.
    """
    card = model_card(model)
    fresh = {id(parameter) for parameter in new_parameters(model).values()}
    if card is not None:
        fresh |= {id(model.get_parameter(name)) for name in card.untrained}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in fresh}


def _replaced(model: nn.Module, name: str, options: dict[str, Any]) -> tuple[str, ...]:
    """Return the parameters that pretrained weights did not fill, because the published network has another shape."""
    with seeded(0):
        published = build_backbone(name, num_classes=None, pretrained=False, options=options)
    shapes = {key: parameter.shape for key, parameter in published.named_parameters()}
    return tuple(key for key, value in model.named_parameters() if shapes.get(key, value.shape) != value.shape)


def _accepted(build: Callable[..., nn.Module], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are not None and that the user's function accepts."""
    parameters = inspect.signature(build).parameters
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return {name: value for name, value in options.items() if value is not None and (every or name in parameters)}


def _is_whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _hidden_options(model: nn.Module) -> dict[str, Any]:
    """Return options that torchvision's pretrained inception weights set but a state dict does not hold."""
    names = ("transform_input", "aux_logits")
    return {name: getattr(model, name) for name in names if isinstance(getattr(model, name, None), bool)}
