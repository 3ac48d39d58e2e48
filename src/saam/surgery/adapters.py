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

    excitation: nn.Module
    """Statistics (B, C), or (B, 2, C) of "mean+max", -> logits (B, C). Its child ``module`` is the attention module,
    except for one of this library."""
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


class _Excitation(nn.Module):
    """The excitation of a module that does more than excite."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module: Any = module
        self.training = module.training


class _Chain(_Excitation):
    """Runs children of the module one after the other on a map of one pixel."""

    def __init__(self, module: nn.Module, *names: str) -> None:
        super().__init__(module)
        self.names = names

    def forward(self, context: Tensor) -> Tensor:
        x = context[:, :, None, None]
        for name in self.names:
            x = getattr(self.module, name)(x)
        return x.flatten(1)


class _SharedChain(_Chain):
    """Runs them on each statistic, and adds up the results."""

    def forward(self, statistics: Tensor) -> Tensor:
        return super().forward(statistics[:, 0]) + super().forward(statistics[:, 1])


class _Eca(_Excitation):
    def forward(self, context: Tensor) -> Tensor:
        x: Tensor = self.module.conv(context[:, None])
        if self.module.conv2 is not None:
            x = self.module.conv2(self.module.act(x))
        return torch.squeeze(x, 1)


class _CircularEca(_Excitation):
    def forward(self, context: Tensor) -> Tensor:
        padded = F.pad(context[:, None], (self.module.padding,) * 2, mode="circular")
        return torch.squeeze(self.module.conv(padded), 1)


def _chain(*names: str, gate: str) -> Callable[[Any], Adapter]:
    def build(module: Any) -> Adapter:
        statistic: Statistic = "mean/max" if getattr(module, "add_maxpool", False) else "mean"
        channels = getattr(module, names[0]).in_channels
        return Adapter(_Chain(module, *names), getattr(module, gate), statistic, channels)

    return build


def _cbam_channel(module: Any) -> Adapter:
    return Adapter(_SharedChain(module, "fc1", "act", "fc2"), module.gate, "mean+max", module.fc1.in_channels)


def _light_channel(module: Any) -> Adapter:
    return Adapter(_Chain(module, "fc1", "act", "fc2"), nn.Sigmoid(), "mean/max", module.fc1.in_channels)


def _global_context(module: Any) -> Adapter | None:
    if (module.mlp_scale is None) == (module.mlp_add is None):
        return None
    name, gate = ("mlp_add", Add()) if module.mlp_scale is None else ("mlp_scale", module.gate)
    statistic: Statistic = "mean" if module.conv_attn is None else "score"
    return Adapter(_Chain(module, name), gate, statistic, getattr(module, name).fc1.in_channels)


_SENET = _chain("fc1", "relu", "fc2", gate="sigmoid")

_ADAPTERS: dict[str, Callable[[Any], Adapter | None]] = {
    "segmentation_models_pytorch.encoders._senet.SEModule": _SENET,
    "timm.layers.cbam.ChannelAttn": _cbam_channel,
    "timm.layers.cbam.LightChannelAttn": _light_channel,
    "timm.layers.eca.CecaModule": lambda module: Adapter(_CircularEca(module), module.gate),
    "timm.layers.eca.EcaModule": lambda module: Adapter(_Eca(module), module.gate),
    "timm.layers.global_context.GlobalContext": _global_context,
    "timm.layers.squeeze_excite.EffectiveSEModule": _chain("fc", gate="gate"),
    "timm.layers.squeeze_excite.SEModule": _chain("fc1", "bn", "act", "fc2", gate="gate"),
    "timm.models._efficientnet_blocks.SqueezeExcite": _chain("conv_reduce", "act1", "conv_expand", gate="gate"),
    "timm.models.hgnet.EseModule": _chain("conv", gate="sigmoid"),
    "timm.models.senet.SEModule": _SENET,
    "torchvision.ops.misc.SqueezeExcitation": _chain("fc1", "activation", "fc2", gate="scale_activation"),
}
