"""Modules that stand where an attention or a pooling stood, with another squeeze and the same weights."""

from typing import Any

import torch
from torch import Tensor, nn

from saam.nn import ChannelAttention
from saam.surgery.adapters import adapter
from saam.surgery.modules import Surgical, call_leaf, keep_keys

__all__ = ["Upgraded", "UpgradedPool"]


class Upgraded(Surgical, ChannelAttention):
    """An attention module with another squeeze in the place of its mean; all of its weights are in use as before.

    The state dict keeps the keys of the module and adds those of the squeeze (``se.squeeze...``).

    Args:
        module: an attention module that :func:`saam.surgery.adapters.adapter` knows.
        squeeze: takes the place of the mean, (B, C, H, W) -> (B, C); a maximum beside the mean stays.
        request: how the upgrade was asked for, see :func:`saam.upgrade`.
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
            keep_keys(self, "excitation.module", "squeeze", tied if known.statistic == "score" else None)
        self._stood = (module,)

    def forward(self, x: Tensor) -> Tensor:
        """Attend to ``x``."""
        attended: Tensor = call_leaf(self, x, super().forward)
        return attended


class UpgradedPool(Surgical):
    """Another squeeze where a network's global pooling stood.

    Args:
        module: the pooling.
        squeeze: (B, C, H, W) -> (B, C).
        keepdim: give (B, C, 1, 1), as the pooling did, instead of (B, C).
        request: how the upgrade was asked for, see :func:`saam.upgrade`.
    """

    def __init__(self, module: nn.Module, squeeze: nn.Module, *, keepdim: bool, request: dict[str, Any]) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.keepdim = keepdim
        self._prepare(module, request)
        self._stood = (module,)

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x``."""
        pooled: Tensor = call_leaf(self.squeeze, x)
        return pooled[:, :, None, None] if self.keepdim else pooled


class BesideMax(nn.Module):
    """A squeeze beside the maximum, which stays what it was in CBAM.

    Args:
        pool: (B, C, H, W) -> (B, C).
        stack: give both, (B, 2, C), or their average, (B, C).
    """

    def __init__(self, pool: nn.Module, *, stack: bool) -> None:
        super().__init__()
        self.pool = pool
        self.statistics = 2 if stack else 1

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        pooled, largest = self.pool(x), x.amax((2, 3))
        return torch.stack((pooled, largest), 1) if self.statistics == 2 else 0.5 * (pooled + largest)
