"""Frequency Channel Attention (Qin et al., ICCV 2021, arXiv:2012.11879): coefficients of a cosine transform."""

import torch
from torch import nn

from saam._core.devices import Device
from saam._core.options import given
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import BottleneckMLP
from saam.nn.squeeze import DCT, MapSize, Squeeze, create_squeeze, statistics_of
from saam.nn.width import reduced

__all__ = ["RECORDS", "fca"]


def fca(
    channels: int,
    *,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    frequencies: int | None = None,
    size: MapSize | None = None,
    squeeze: Squeeze = "dct",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Frequency Channel Attention: ``x * sigmoid(fc2(relu(fc1(dct(x)))))`` (Qin et al., arXiv:2012.11879).

    ``frequencies`` (16 by default) and ``size`` are options of :class:`saam.nn.DCT`. Without ``size``, the transform is
    built for the size of each map, and maps under 7 pixels raise an error. With ``size``, other maps are averaged to
    this size, as in the official networks.
    """
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool: nn.Module
    if squeeze == "dct":
        pool = DCT(channels, **given(frequencies=frequencies, size=size), device=device)
    elif frequencies is not None or size is not None:
        raise ValueError(f"frequencies and size belong to squeeze='dct'; leave them out with squeeze={squeeze!r}")
    else:
        pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    statistics = statistics_of(pool, channels)
    mlp = BottleneckMLP(channels, hidden, statistics=statistics, bias=False, device=device, dtype=dtype)
    return ChannelAttention(pool, mlp, nn.Sigmoid())


RECORDS = (
    AttentionRecord(
        name="fca",
        build=fca,
        description="one cosine transform coefficient per channel, sixteen frequencies, bottleneck MLP, sigmoid",
        paper="Qin, Zhang, Wu, Li: FcaNet: Frequency Channel Attention Networks, ICCV 2021",
        arxiv="2012.11879",
        source="cfzd/FcaNet, model/layer.py",
        formula="2Cp",
        weight_decay="on everything",
        notes="The channels must be divisible by frequencies (16, the paper's top16). Maps under 7 pixels raise an "
        "error unless size is given, because all frequencies would be the mean.",
    ),
)
