"""Make new attention start as the exact identity, so that a trained network computes the same as before.

    logits all zero, gate 1 there (1 + tanh) or 0 and added      nothing else to do
    logits all zero, gate 1/2 there (sigmoid, hard sigmoid)      the gate is doubled
    anything else                                                y = x + scale * (attention(x) - x), scale from 0

Each computes x * 1 or x + 0, which is exact as long as the attention's own values are finite: 0 * inf is not 0. The
last layer, or the scale, gets gradients in the first step, and everything else from the second step on.
"""

import torch
from torch import Tensor, nn

from saam.nn import ChannelAttention, Doubled
from saam.nn.channel_attention import is_plain
from saam.nn.protocol import adds, zeroing_of

__all__ = ["FadedIn", "start_as_identity"]


class FadedIn(nn.Module):
    """``x + scale * (attention(x) - x)`` with a learned scale that starts at 0.

    Args:
        attention: (B, C, H, W) -> (B, C, H, W).
    """

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        like = next((parameter for parameter in attention.parameters() if parameter.is_floating_point()), None)
        self.attention = attention
        self.scale = nn.Parameter(torch.zeros(1, device=like.device if like is not None else None))
        self.register_load_state_dict_pre_hook(_with_one_axis)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> Tensor:
        """Mix ``x`` and the attention by the scale."""
        return x + self.scale.to(x.dtype) * (self.attention(x) - x)

    def no_weight_decay(self) -> set[str]:
        """Name the scale: weight decay would pull it back to the identity."""
        return {"scale"}


def _with_one_axis(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Give the scale of a network that an earlier version saved its axis."""
    if (name := f"{prefix}scale") in state:
        state[name] = state[name].reshape(1)


def start_as_identity(attention: nn.Module, channels: int) -> nn.Module:
    """Return attention that starts as the identity: the module itself, changed in place, or a wrapper."""
    if is_plain(attention) and (zero_logits := zeroing_of(attention.excitation)):
        gate = _at_zero(attention, channels)
        neutral = 0.0 if adds(attention.gate) else 1.0
        if gate in (neutral, neutral / 2):
            zero_logits()
            if gate != neutral:
                attention.gate = Doubled(attention.gate)
            return attention
    return FadedIn(attention)


def _at_zero(attention: ChannelAttention, channels: int) -> float | None:
    """Return the value of the gate for zero logits, or None if it differs between channels."""
    with torch.no_grad():
        values = attention.gate(torch.zeros(1, channels, device="cpu")).flatten()
    return float(values[0]) if bool((values == values[0]).all()) else None
