"""Excitations: how the statistics of all channels become one logit per channel.

Each takes (B, C) or (B, K, C) with the C and K that it was built for, and gives (B, C). ``zero_last_`` makes all logits
zero whatever the input, in such a way that the excitation can learn from there; all that have parameters have it.
"""

from saam.nn.excitation.channelwise import (
    ChannelConv1d,
    ChannelNormalization,
    NoExcitation,
    PerChannelLinear,
    PerChannelNorm,
)
from saam.nn.excitation.mlp import BottleneckMLP, FullLinear, NormedMLP, SharedMLP
from saam.nn.excitation.rows import RowTransform

__all__ = [
    "BottleneckMLP",
    "ChannelConv1d",
    "ChannelNormalization",
    "FullLinear",
    "NoExcitation",
    "NormedMLP",
    "PerChannelLinear",
    "PerChannelNorm",
    "RowTransform",
    "SharedMLP",
]
