"""Squeeze-and-Excitation (Hu et al., CVPR 2018, arXiv:1709.01507): ``x * sigmoid(fc2(relu(fc1(mean(x)))))``."""

from functools import partial

import torch
from torch import nn

from saam._core.devices import Device
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import BottleneckMLP
from saam.nn.squeeze import Squeeze, create_squeeze, statistics_of
from saam.nn.width import reduced

__all__ = ["RECORDS", "se"]


def se(
    channels: int,
    *,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    bias: bool = True,
    squeeze: Squeeze = "mean",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Squeeze-and-Excitation: ``x * sigmoid(fc2(relu(fc1(mean(x)))))`` (Hu et al., arXiv:1709.01507)."""
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    statistics = statistics_of(pool, channels)
    mlp = BottleneckMLP(channels, hidden, statistics=statistics, bias=bias, device=device, dtype=dtype)
    return ChannelAttention(pool, mlp, nn.Sigmoid())


_HU = "Hu, Shen, Albanie, Sun, Wu: Squeeze-and-Excitation Networks, CVPR 2018"

RECORDS = (
    AttentionRecord(
        name="se",
        build=se,
        description="mean squeeze, bottleneck MLP with biases, sigmoid",
        paper=_HU,
        arxiv="1709.01507",
        source="hujie-frank/SENet, models/SE-ResNet-50.prototxt",
        formula="2Cp + p + C",
        weight_decay="not published",
    ),
    AttentionRecord(
        name="se:nobias",
        build=partial(se, bias=False),
        description="se without biases, as in most re-implementations",
        paper=_HU,
        arxiv="1709.01507",
        source="common re-implementations",
        formula="2Cp",
        weight_decay="on everything",
    ),
    AttentionRecord(
        name="se:timm",
        build=partial(se, rd_divisor=8),
        description="se with the hidden width rounded to a multiple of 8",
        paper=_HU,
        arxiv="1709.01507",
        source="huggingface/pytorch-image-models, timm/layers/squeeze_excite.py",
        formula="2Ch + h + C, h = C/16 to the nearest multiple of 8",
        notes="At CIFAR widths it has 2.4 times as many parameters as in the paper.",
    ),
)
