"""Excitations: from the statistics of all channels to one logit per channel.

Each maps (B, C) or (B, K, C), with the C and K that it was built for, to (B, C). ``zero_last_`` makes all logits zero
for any input, such that the excitation can still learn; every excitation with parameters has this method.
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
