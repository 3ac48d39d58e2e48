"""What surgery knows of attention that networks come with: how each module squeezes, excites and gates.

An adapter lets another squeeze do the work while every weight of the module stays in use and in its place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saam.nn import Add, ChannelAttention, Mean, MeanMax, ScorePool2d

__all__ = ["Adapter", "adapter"]

Statistic = Literal["mean", "mean+max", "mean/max", "score", "other"]


@dataclass(frozen=True)
class Adapter:
    """The parts of one attention module."""

    excite: Callable[[Tensor], Tensor]
    """Statistics (B, C), or (B, 2, C) of "mean+max", -> logits (B, C)."""
    gate: nn.Module
    statistic: Statistic = "mean"
    """What it squeezes by; "mean/max" is the average of the two, "other" is left alone."""
    channels: int | None = None
    """C, where the module shows it."""


def adapter(module: nn.Module) -> Adapter | None:
    """Return the adapter of an attention module, or None for any other module."""
    if isinstance(module, ChannelAttention):
        return _own(module)
    build = _ADAPTERS.get(f"{type(module).__module__}.{type(module).__qualname__}")
    return build(module) if build else None


def _own(module: ChannelAttention) -> Adapter:
    squeeze = module.squeeze
    statistic: Statistic = "other"
    if isinstance(squeeze, ScorePool2d):
        statistic = "score"
    elif isinstance(squeeze, Mean | MeanMax):
        statistic = "mean" if isinstance(squeeze, Mean) else "mean+max"
    return Adapter(module.excitation, module.gate, statistic)


def _chain(*names: str, gate: str, channels: str) -> Callable[[Any], Adapter]:
    """Adapt a module that runs its children of these names one after the other on a map of one pixel."""

    def build(module: Any) -> Adapter:
        def excite(context: Tensor) -> Tensor:
            x = context[:, :, None, None]
            for name in names:
                x = getattr(module, name)(x)
            return x.flatten(1)

        statistic: Statistic = "mean/max" if getattr(module, "add_maxpool", False) else "mean"
        return Adapter(excite, getattr(module, gate), statistic, getattr(module, channels).in_channels)

    return build


def _eca(module: Any) -> Adapter:
    def excite(context: Tensor) -> Tensor:
        x = module.conv(context[:, None])
        if module.conv2 is not None:
            x = module.conv2(module.act(x))
        return torch.squeeze(x, 1)

    return Adapter(excite, module.gate)


def _circular_eca(module: Any) -> Adapter:
    def excite(context: Tensor) -> Tensor:
        return torch.squeeze(module.conv(F.pad(context[:, None], (module.padding,) * 2, mode="circular")), 1)

    return Adapter(excite, module.gate)


def _cbam_channel(module: Any) -> Adapter:
    def excite(statistics: Tensor) -> Tensor:
        def mlp(context: Tensor) -> Tensor:
            logits: Tensor = module.fc2(module.act(module.fc1(context[:, :, None, None])))
            return logits.flatten(1)

        return mlp(statistics[:, 0]) + mlp(statistics[:, 1])

    return Adapter(excite, module.gate, "mean+max", module.fc1.in_channels)


def _light_channel(module: Any) -> Adapter:
    chain = _chain("fc1", "act", "fc2", gate="gate", channels="fc1")(module)
    return Adapter(chain.excite, nn.Sigmoid(), "mean/max", chain.channels)


def _global_context(module: Any) -> Adapter | None:
    transform = module.mlp_scale if module.mlp_add is None else module.mlp_add
    if transform is None or (module.mlp_scale is not None and module.mlp_add is not None):
        return None

    def excite(context: Tensor) -> Tensor:
        logits: Tensor = transform(context[:, :, None, None])
        return logits.flatten(1)

    gate = Add() if module.mlp_scale is None else module.gate
    statistic: Statistic = "mean" if module.conv_attn is None else "score"
    return Adapter(excite, gate, statistic, transform.fc1.in_channels)


_SENET = _chain("fc1", "relu", "fc2", gate="sigmoid", channels="fc1")

_ADAPTERS: dict[str, Callable[[Any], Adapter | None]] = {
    "segmentation_models_pytorch.encoders._senet.SEModule": _SENET,
    "timm.layers.cbam.ChannelAttn": _cbam_channel,
    "timm.layers.cbam.LightChannelAttn": _light_channel,
    "timm.layers.eca.CecaModule": _circular_eca,
    "timm.layers.eca.EcaModule": _eca,
    "timm.layers.global_context.GlobalContext": _global_context,
    "timm.layers.squeeze_excite.EffectiveSEModule": _chain("fc", gate="gate", channels="fc"),
    "timm.layers.squeeze_excite.SEModule": _chain("fc1", "bn", "act", "fc2", gate="gate", channels="fc1"),
    "timm.models._efficientnet_blocks.SqueezeExcite": _chain(
        "conv_reduce", "act1", "conv_expand", gate="gate", channels="conv_reduce"
    ),
    "timm.models.hgnet.EseModule": _chain("conv", gate="sigmoid", channels="conv"),
    "timm.models.senet.SEModule": _SENET,
    "torchvision.ops.misc.SqueezeExcitation": _chain(
        "fc1", "activation", "fc2", gate="scale_activation", channels="fc1"
    ),
}
