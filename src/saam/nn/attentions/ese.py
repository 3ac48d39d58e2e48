"""Effective Squeeze-and-Excitation (Lee & Park, CVPR 2020, arXiv:1911.06667): one layer without a bottleneck."""

import torch
from torch import nn

from saam._core.devices import Device
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import FullLinear
from saam.nn.squeeze import Squeeze, create_squeeze, statistics_of

__all__ = ["RECORDS", "ese"]


def ese(
    channels: int,
    *,
    squeeze: Squeeze = "mean",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build effective Squeeze-and-Excitation: ``x * hardsigmoid(fc(mean(x)))`` (Lee & Park, arXiv:1911.06667)."""
    require_channels(channels)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    linear = FullLinear(channels, statistics=statistics_of(pool, channels), device=device, dtype=dtype)
    return ChannelAttention(pool, linear, nn.Hardsigmoid())


RECORDS = (
    AttentionRecord(
        name="ese",
        build=ese,
        description="mean squeeze, one fully connected layer without a bottleneck, hard sigmoid",
        paper="Lee, Park: CenterMask: Real-Time Anchor-Free Instance Segmentation, CVPR 2020",
        arxiv="1911.06667",
        source="youngwanLEE/vovnet-detectron2, vovnet/vovnet.py",
        placement="after the 1x1 convolution that joins an aggregation block, before its addition",
        formula="C*C + C",
        notes="For logits below -3 or above 3 the gate is constant and passes no gradient.",
    ),
)
