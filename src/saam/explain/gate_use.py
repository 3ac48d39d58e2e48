"""Measure how much a network's attention does: an attention that stays near the identity has learned nothing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saam._core.devices import doubled
from saam.explain.inputs import Batch, images_of
from saam.explain.inspected import first_input, hooked, inspected
from saam.nn import ChannelAttention
from saam.surgery import Attended
from saam.surgery.adapters import Upgraded

__all__ = ["GateUse", "attentions_of", "factor_spreads", "gate_factors", "gate_use"]


@dataclass(frozen=True)
class GateUse:
    """How much one attention changes its feature map x (B, C, H, W) into y, averaged over images.

    The factor of a channel is the number f that brings f x closest to y, ``<x, y> / <x, x>``; it is the gate of a
    channel attention.
    """

    change: float
    """Relative change of the map, ``|y - x| / |x|``: 0 for the identity."""
    factor: float
    """Mean factor: 1 for the identity."""
    channels: float
    """Standard deviation of the factors over the channels, each averaged over images: 0 if all channels are equal."""
    images: float
    """Standard deviation of a channel's factor over the images, averaged over channels: 0 if no image matters."""


def gate_use(model: nn.Module, batches: Tensor | Iterable[Batch]) -> dict[str, GateUse]:
    """Measure at every site how far the attention of a network is from the identity.

    The model runs in eval mode without gradients, and modes are restored. Of an attention that runs more than once, the
    last call counts.

    Args:
        model: Any network with attention of this library in it: attached, upgraded or built in.
        batches: Input of the model (B, C, H, W), or batches of it. If a batch is a tuple, such as (images, labels), its
            first entry is used.

    Returns:
        Site name -> its use, in the order of the network.

    Raises:
        ValueError: If the model has no attention or never calls it, what enters or leaves it is not finite, or there
            are no images.

    Example:
        >>> from saam import create_model
        >>> model = create_model("resnet8", attention="eca", start="identity")
        >>> gate_use(model, torch.randn(4, 3, 32, 32))["layer1.0.bn2"]
        GateUse(change=0.0, factor=1.0, channels=0.0, images=0.0)
    """
    changes: dict[str, list[Tensor]] = {}
    factors: dict[str, list[Tensor]] = {}
    for x in images_of(model, batches):
        for site, (change, factor) in _observed(model, x).items():
            changes.setdefault(site, []).append(change)
            factors.setdefault(site, []).append(factor)
    return {site: _use(torch.cat(changes[site]), torch.cat(factors[site])) for site in changes}


def gate_factors(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Return the factor of every channel at every site, for each image. See :func:`gate_use` for how the model runs.

    Args:
        model: As in :func:`gate_use`.
        x: (B, C, H, W) input of the model, on its device.

    Returns:
        Site name -> (B, C) factors, 1 where attention changes nothing; see :class:`GateUse`.

    Raises:
        ValueError: If the model has no attention or never calls it, or what enters or leaves it is not finite.
    """
    return {site: factor for site, (_, factor) in _observed(model, x).items()}


def attentions_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the attention modules of a network by the name of their site; none inside another one."""
    found: dict[str, nn.Module] = {}
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        if module not in inside and (attention := _attention(module)) is not None:
            inside |= {*attention.modules()}
            found[name or "model"] = attention
    return found


def _attention(module: nn.Module) -> nn.Module | None:
    """Return the attention that a module is or has."""
    if isinstance(module, Attended):
        return module.attention
    ours = type(module).__module__.startswith("saam.nn.attentions.")
    return module if ours or isinstance(module, ChannelAttention | Upgraded) else None


def _observed(model: nn.Module, x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Run the model once; return for each site the change of the map (B,) and the factors (B, C), in float64."""
    attentions = attentions_of(model)
    if not attentions:
        raise ValueError(
            f"expected a model with attention, found none in {type(model).__name__}; attach one, e.g. "
            "saam.attach(model, 'se')"
        )
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    hooks = (module.register_forward_hook(_keep(seen, site), with_kwargs=True) for site, module in attentions.items())
    with hooked(hooks), inspected(model):
        model(x)
    if not seen:
        raise ValueError(
            f"expected {type(model).__name__} to call its attention, but none of {len(attentions)} was called: "
            "call each attention in forward as a module, attention(x)"
        )
    return {site: seen[site] for site in attentions if site in seen}


def _keep(
    seen: dict[str, tuple[Tensor, Tensor]], site: str
) -> Callable[[nn.Module, tuple[Any, ...], Mapping[str, Any], Tensor], None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], y: Tensor) -> None:
        x, after = (doubled(value.detach().flatten(2)) for value in (first_input(module, args, kwargs), y))
        if not (x.isfinite().all() and after.isfinite().all()):
            raise ValueError(
                f"the feature map at site {site!r} is not finite, so its gates are NaN: look for NaN or infinity in "
                "the input and in the weights of the network"
            )
        power = x.square().sum(2)
        change = ((after - x).square().sum((1, 2)) / power.sum(1).clamp(min=torch.finfo(power.dtype).tiny)).sqrt()
        factor = torch.where(power > 0, (x * after).sum(2) / power, 1.0)  # a map of zeros has no factor
        seen[site] = change.cpu(), factor.cpu()

    return hook


def factor_spreads(factors: Tensor) -> tuple[float, float]:
    """Return the standard deviations of factors (B, C) over the channels and over the images, see :class:`GateUse`."""
    return float(factors.mean(0).std(correction=0)), float(factors.std(0, correction=0).mean())


def _use(changes: Tensor, factors: Tensor) -> GateUse:
    values = float(changes.mean()), float(factors.mean()), *factor_spreads(factors)
    return GateUse(*(round(value, 6) for value in values))
