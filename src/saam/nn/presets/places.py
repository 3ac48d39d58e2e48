"""Presets whose squeeze sees more than each channel's mean: where its values are, or how channels vary together.

These are ge-minus, ge, ge-plus, fca and gsop.
"""

import torch
from torch import nn

from saam.nn._check import require_channels
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import BottleneckMLP, NoExcitation, NormedMLP, PerChannelNorm, RowTransform
from saam.nn.presets.width import reduced
from saam.nn.squeeze import DCT, Covariance, MapSize, Squeeze, create_squeeze, statistics_of

__all__ = ["fca", "ge", "ge_minus", "ge_plus", "gsop"]


def ge_minus(
    channels: int,
    *,
    squeeze: Squeeze = "mean",
    device: torch.device | str | None = None,
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
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Gather-Excite: ``x * sigmoid(norm(depthwise_conv(x)))`` over the whole map (Hu et al., arXiv:1810.12348).

    ``size`` is (H, W) of the maps, or one number for both. The depthwise convolution needs it, and such a module takes
    maps of this size alone; other squeezes do without.
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
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Gather-Excite with an excitation: ``x * sigmoid(fc2(relu(fc1(relu(norm(depthwise_conv(x)))))))``.

    ``size`` as in :func:`ge`; after Hu et al., arXiv:1810.12348.
    """
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool = create_squeeze(squeeze, channels, size=size, device=device, dtype=dtype)
    statistics_of(pool, channels)
    return ChannelAttention(pool, NormedMLP(channels, hidden, device=device, dtype=dtype), nn.Sigmoid())


def fca(
    channels: int,
    *,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    frequencies: int = 16,
    size: MapSize | None = None,
    squeeze: Squeeze = "dct",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Frequency Channel Attention: ``x * sigmoid(fc2(relu(fc1(dct(x)))))`` (Qin et al., arXiv:2012.11879).

    ``frequencies`` and ``size`` are those of :class:`saam.nn.DCT`: without a size the transform is made for each map's
    own, and maps under 7 pixels are refused; with one, as in the official networks, other maps are averaged to it.
    """
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool: nn.Module
    if squeeze == "dct":
        pool = DCT(channels, frequencies=frequencies, size=size, device=device)
    elif frequencies != 16 or size is not None:
        raise ValueError(f"frequencies and size belong to squeeze='dct'; leave them out with squeeze={squeeze!r}")
    else:
        pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    statistics = statistics_of(pool, channels)
    mlp = BottleneckMLP(channels, hidden, statistics=statistics, bias=False, device=device, dtype=dtype)
    return ChannelAttention(pool, mlp, nn.Sigmoid())


def gsop(
    channels: int,
    *,
    rd_channels: int = 128,
    squeeze: Squeeze = "covariance",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build the channel attention of Global Second-order Pooling (Gao et al., arXiv:1811.12006).

    ``x * sigmoid(fc(row_conv(norm(covariance(relu(norm(conv1x1(relu(x)))))))))``, the covariance of ``rd_channels``
    channels to which the 1x1 convolution brings the map.
    """
    require_channels(channels)
    pool: nn.Module
    if squeeze == "covariance":
        pool = Covariance(channels, reduced=rd_channels, device=device, dtype=dtype)
    elif rd_channels != 128:
        raise ValueError(f"rd_channels belongs to squeeze='covariance'; leave it out with squeeze={squeeze!r}")
    else:
        pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    rows = getattr(pool, "width", channels)
    transform = RowTransform(channels, rows, statistics=statistics_of(pool, rows), device=device, dtype=dtype)
    return ChannelAttention(pool, transform, nn.Sigmoid())
