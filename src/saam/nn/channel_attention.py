"""The grammar of channel attention: ``x * gate(excitation(squeeze(x)))``."""

from typing import TypeGuard

from torch import Tensor, nn

from saam._core.fx import leaf
from saam.functional import rescale, shift
from saam.functional._check import require_map, without_autocast
from saam.functional._torch import has_global_hooks
from saam.functional.backend import choose
from saam.functional.fused import attend
from saam.nn._dtype import dtype_of
from saam.nn.protocol import adds, pooling_of
from saam.nn.weight_decay import no_weight_decay

__all__ = ["ChannelAttention", "is_plain"]


class ChannelAttention(nn.Module):
    """Scale every channel of a feature map by a factor computed from all channels.

    Args:
        squeeze: (B, C, H, W) -> statistics (B, C) or (B, K, C), see :mod:`saam.nn.squeeze`.
        excitation: Statistics -> logits (B, C), see :mod:`saam.nn.excitation`.
        gate: Logits -> factor (B, C), any elementwise module, see :mod:`saam.nn.gate`. If it has ``adds = True``, its
            value is added to the map instead.

    :mod:`saam.nn.protocol` lists what a part may declare in addition to its forward.

    Shape:
        (B, C, H, W) -> (B, C, H, W), in the dtype and memory layout of the input.

    Raises:
        RuntimeError: If :func:`saam.use_backend` requires "fused" and it cannot run here or does not support this
            squeeze.

    Example:
        >>> import torch
        >>> from saam.nn import BottleneckMLP, ScorePool2d
        >>> attention = ChannelAttention(ScorePool2d(64, heads=4), BottleneckMLP(64, 8), nn.Sigmoid())
        >>> attention(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 64, 8, 8])
    """

    def __init__(self, squeeze: nn.Module, excitation: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.squeeze = squeeze
        self.excitation = excitation
        self.gate = gate

    @leaf
    def forward(self, x: Tensor) -> Tensor:
        """Attend to ``x``."""
        require_map(x)
        pooling = pooling_of(self.squeeze)
        if choose(None, x, _obstacle(self.squeeze)) == "fused" and pooling:
            return attend(x, pooling(x), self.respond, adds=adds(self.gate))
        value = self.respond(self.squeeze(x))
        return shift(x, value) if adds(self.gate) else rescale(x, value)

    def respond(self, statistics: Tensor) -> Tensor:
        """Return the value of every channel (B, C) for statistics (B, C) or (B, K, C).

        It is computed in the dtype of the excitation's parameters, also under autocast, because these small tensors
        overflow in float16.
        """
        dtype = dtype_of(self.excitation, otherwise=statistics.dtype)
        with without_autocast(statistics):
            return self.gate(self.excitation(statistics.to(dtype)))

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters to train without weight decay, as declared by the parts."""
        parts = self.named_children()
        return {f"{path}.{name}" for path, part in parts for name in no_weight_decay(part)}


def is_plain(module: nn.Module) -> TypeGuard[ChannelAttention]:
    """Return whether a module is a ChannelAttention that computes what its parts say, and nothing else."""
    return isinstance(module, ChannelAttention) and all(
        getattr(type(module), name) is getattr(ChannelAttention, name) for name in ("forward", "respond")
    )


def _obstacle(squeeze: nn.Module) -> str | None:
    """Return why the fused operation cannot replace a squeeze, or None.

    It can if the squeeze has the forward that the fused form replaces, and no hook observes it.
    """
    name = type(squeeze).__name__
    if pooling_of(squeeze) is None:
        return f"it supports squeezes whose forward has a fused form, got {name}, which has none; use another squeeze"
    if getattr(squeeze, "keepdim", False):
        return f"it supports squeezes that give statistics (B, C), got {name} with keepdim=True; leave out keepdim"
    hooks = (squeeze._forward_hooks, squeeze._forward_pre_hooks, squeeze._backward_hooks, squeeze._backward_pre_hooks)
    if any(hooks) or has_global_hooks():
        return f"it supports squeezes without hooks, got {name} with hooks; remove them"
    return None
