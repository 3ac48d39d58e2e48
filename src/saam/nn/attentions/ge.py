"""Gather-Excite (Hu et al., NeurIPS 2018, arXiv:1810.12348): squeeze by a depthwise convolution as large as the map."""

import torch
from torch import nn

from saam._core.devices import Device
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import NoExcitation, NormedMLP, PerChannelNorm
from saam.nn.squeeze import MapSize, Squeeze, create_squeeze, statistics_of
from saam.nn.width import reduced

__all__ = ["RECORDS", "ge", "ge_minus", "ge_plus"]


def ge_minus(
    channels: int,
    *,
    squeeze: Squeeze = "mean",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Gather-Excite without parameters: ``x * sigmoid(mean(x))`` (Hu et al., arXiv:1810.12348)."""
    require_channels(channels)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    statistics_of(pool, channels)
    return ChannelAttention(pool, NoExcitation(channels), nn.Sigmoid())


def ge(
    channels: int,
    *,
    size: MapSize | None = None,
    squeeze: Squeeze = "depthwise-conv",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Gather-Excite: ``x * sigmoid(norm(depthwise_conv(x)))`` over the whole map (Hu et al., arXiv:1810.12348).

    ``size`` is (H, W) of the maps, or one number for both. The depthwise convolution requires it and accepts only maps
    of this size; other squeezes do not need it.
    """
    require_channels(channels)
    pool = create_squeeze(squeeze, channels, size=size, device=device, dtype=dtype)
    statistics_of(pool, channels)
    return ChannelAttention(pool, PerChannelNorm(channels, device=device, dtype=dtype), nn.Sigmoid())


def ge_plus(
    channels: int,
    *,
    size: MapSize | None = None,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    squeeze: Squeeze = "depthwise-conv",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Gather-Excite with an excitation: ``x * sigmoid(fc2(relu(fc1(relu(norm(depthwise_conv(x)))))))``.

    See Hu et al., arXiv:1810.12348. ``size`` is as in :func:`ge`.
    """
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool = create_squeeze(squeeze, channels, size=size, device=device, dtype=dtype)
    statistics_of(pool, channels)
    return ChannelAttention(pool, NormedMLP(channels, hidden, device=device, dtype=dtype), nn.Sigmoid())


_GE = "Hu, Shen, Albanie, Sun, Vedaldi: Gather-Excite: Exploiting Feature Context in CNNs, NeurIPS 2018"

RECORDS = (
    AttentionRecord(
        name="ge-minus",
        build=ge_minus,
        description="mean squeeze, sigmoid, no parameters",
        paper=_GE,
        arxiv="1810.12348",
        source="hujie-frank/GENet, models/RN50-GEPF.prototxt",
        formula="0",
        weight_decay="no parameters",
        notes="It has no layer that could start at zero. Started as the identity, it is faded in by a learned scale "
        "that starts at 0.",
    ),
    AttentionRecord(
        name="ge",
        build=ge,
        description="depthwise convolution as large as the map, batch norm, sigmoid",
        paper=_GE,
        arxiv="1810.12348",
        source="hujie-frank/GENet, models/RN50-GEP.prototxt",
        formula="CHW + 2C",
        needs=("size",),
        notes="Requires the option size and accepts only maps of that size. In training mode the batch size must be 2 "
        "or more, because of the batch norm.",
    ),
    AttentionRecord(
        name="ge-plus",
        build=ge_plus,
        description="the squeeze and norm of ge, ReLU, bottleneck MLP with biases, sigmoid",
        paper=_GE,
        arxiv="1810.12348",
        source="hujie-frank/GENet, models/RN50-GEPP.prototxt",
        formula="CHW + 2C + 2Cp + p + C",
        needs=("size",),
        notes="Requires the option size and accepts only maps of that size. In training mode the batch size must be 2 "
        "or more, because of the batch norm.",
    ),
)
