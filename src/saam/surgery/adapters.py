"""Adapters for the attention modules of other libraries: their squeeze, excitation and gate.

An adapter replaces the squeeze of a module and keeps all of its weights in use, under the same keys.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saam._core.fx import call_leaf
from saam.nn import Add, ChannelAttention, Mean, MeanMax, ScorePool2d
from saam.nn.channel_attention import is_plain
from saam.surgery.surgical import INNER, Surgical, keep_keys

__all__ = ["Adapter", "Upgraded", "UpgradedPool", "adapter"]

Statistic = Literal["mean", "mean+max", "mean/max", "score", "other"]


@dataclass(frozen=True)
class Adapter:
    """The parts of one attention module."""

    excitation: nn.Module
    """Statistics (B, C), or (B, 2, C) of "mean+max", -> logits (B, C)."""
    gate: nn.Module
    statistic: Statistic = "mean"
    """Kind of its squeeze; "mean/max" is the average of the two, "other" is not upgraded."""
    channels: int | None = None
    """C, if the module exposes it."""


def adapter(module: nn.Module) -> Adapter | None:
    """Return the adapter of an attention module, or None for any other module."""
    if isinstance(module, ChannelAttention):
        return _own(module) if isinstance(module, Upgraded) or is_plain(module) else None
    build = _ADAPTERS.get(f"{type(module).__module__}.{type(module).__qualname__}")
    return build(module) if build else None


class Upgraded(Surgical, ChannelAttention):
    """An attention module with another squeeze instead of its mean. All of its weights stay in use.

    The state dict keeps the keys of the module and adds those of the squeeze (``se.squeeze...``).

    Args:
        module: An attention module that :func:`adapter` supports.
        squeeze: Replaces the mean, (B, C, H, W) -> (B, C); a maximum beside the mean stays.
        request: The arguments of the upgrade, see :func:`saam.upgrade`.
    """

    def __init__(self, module: nn.Module, squeeze: nn.Module, request: dict[str, Any]) -> None:
        known = adapter(module)
        if known is None:
            raise TypeError(f"expected an attention module that can be upgraded, got {type(module).__name__}")
        if known.statistic in ("mean+max", "mean/max"):
            squeeze = BesideMax(squeeze, stack=known.statistic == "mean+max")
        super().__init__(squeeze, known.excitation, known.gate)
        self._prepare(module, request)
        if not isinstance(module, ChannelAttention):
            tied = {"squeeze.weight": "conv_attn.weight", "squeeze.bias": "conv_attn.bias"}
            self._modules[INNER] = module
            keep_keys(self, "squeeze", tied if known.statistic == "score" else None)
        self._stood = (module,)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == INNER:  # a copy of the module, as nn.DataParallel makes
            vars(self._modules["excitation"])["module"] = value


class UpgradedPool(Surgical):
    """A squeeze that replaces the global pooling of a network.

    Args:
        module: The pooling.
        squeeze: (B, C, H, W) -> (B, C).
        keepdim: Whether to return (B, C, 1, 1), as the pooling did, instead of (B, C).
        request: The arguments of the upgrade, see :func:`saam.upgrade`.
    """

    def __init__(self, module: nn.Module, squeeze: nn.Module, *, keepdim: bool, request: dict[str, Any]) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.keepdim = keepdim
        self._prepare(module, request)
        self._stood = (module,)

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x``."""
        pooled = call_leaf(self.squeeze, x)
        return pooled[:, :, None, None] if self.keepdim else pooled


class BesideMax(nn.Module):
    """A squeeze together with the maximum, which CBAM keeps.

    Args:
        pool: (B, C, H, W) -> (B, C).
        stack: Whether to return both, (B, 2, C), or their average, (B, C).
    """

    def __init__(self, pool: nn.Module, *, stack: bool) -> None:
        super().__init__()
        self.pool = pool
        self.statistics = 2 if stack else 1

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        pooled, largest = self.pool(x), x.amax((2, 3))
        return torch.stack((pooled, largest), 1) if self.statistics == 2 else 0.5 * (pooled + largest)


def _own(module: ChannelAttention) -> Adapter:
    squeeze = module.squeeze
    statistic: Statistic = "other"
    if isinstance(squeeze, ScorePool2d):
        statistic = "score"
    elif type(squeeze) in (Mean, MeanMax):
        statistic = "mean" if type(squeeze) is Mean else "mean+max"
    return Adapter(module.excitation, module.gate, statistic)


class _Excitation(nn.Module):
    """The excitation part of a module that also does other things, and that is a child of ``Upgraded`` alone."""

    module: Any

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        vars(self)["module"] = module
        self.training = module.training

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Yield the parameters of the module; their dtype is that of the excitation."""
        yield from self.module.parameters(recurse)


class _Chain(_Excitation):
    """Apply children of the module in sequence to a map of one pixel."""

    def __init__(self, module: nn.Module, *names: str) -> None:
        super().__init__(module)
        self.names = names

    def forward(self, context: Tensor) -> Tensor:
        x = context[:, :, None, None]
        for name in self.names:
            x = getattr(self.module, name)(x)
        return x.flatten(1)


class _SharedChain(_Chain):
    """Apply them to each statistic and sum the results."""

    def forward(self, statistics: Tensor) -> Tensor:
        return super().forward(statistics[:, 0]) + super().forward(statistics[:, 1])


class _Eca(_Excitation):
    def forward(self, context: Tensor) -> Tensor:
        x = self.module.conv(context[:, None])
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
