"""The Gated Channel Transformation (Yang et al., CVPR 2020, arXiv:1909.11519): each channel relative to all others."""

import torch

from saam._core.devices import Device
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import ChannelNormalization
from saam.nn.gate import OnePlusTanh
from saam.nn.squeeze import Squeeze, create_squeeze, statistics_of

__all__ = ["RECORDS", "gct"]


def gct(
    channels: int,
    *,
    squeeze: Squeeze = "l2",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build the Gated Channel Transformation (Yang et al., arXiv:1909.11519). A new module is the identity.

    ``x * (1 + tanh(gamma * e / sqrt(mean over channels of e^2) + beta))`` with ``e = alpha * l2(x)``.
    """
    require_channels(channels)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    norm = ChannelNormalization(channels, statistics=statistics_of(pool, channels), device=device, dtype=dtype)
    return ChannelAttention(pool, norm, OnePlusTanh())


RECORDS = (
    AttentionRecord(
        name="gct",
        build=gct,
        description="L2 norm squeeze, each channel relative to the root mean square of all, 1 + tanh",
        paper="Yang, Zhu, Wu, Yang: Gated Channel Transformation for Visual Recognition, CVPR 2020",
        arxiv="1909.11519",
        source="z-x-yang/GCT, PyTorch/GCT.py",
        placement="before each convolution",
        formula="3C",
        weight_decay="on alpha and gamma, not on beta",
        notes="A new module is the identity. The squeeze grows with the square root of the number of pixels.",
    ),
)
