"""The Style-based Recalibration Module (Lee, Kim, Nam, ICCV 2019, arXiv:1903.10829): weighted mean and deviation."""

import torch
from torch import nn

from saam._core.devices import Device
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import PerChannelLinear
from saam.nn.squeeze import Squeeze, create_squeeze, statistics_of

__all__ = ["RECORDS", "srm"]


def srm(
    channels: int,
    *,
    squeeze: Squeeze = "mean+std",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build the Style-based Recalibration Module (Lee, Kim, Nam, arXiv:1903.10829).

    ``x * sigmoid(norm(a * mean(x) + b * std(x)))`` with weights a and b per channel, which start at zero, and a batch
    norm.
    """
    require_channels(channels)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    linear = PerChannelLinear(channels, statistics=statistics_of(pool, channels), device=device, dtype=dtype)
    return ChannelAttention(pool, linear, nn.Sigmoid())


RECORDS = (
    AttentionRecord(
        name="srm",
        build=srm,
        description="mean and deviation squeeze, two weights per channel, batch norm, sigmoid",
        paper="Lee, Kim, Nam: SRM: A Style-based Recalibration Module for Convolutional Neural Networks, ICCV 2019",
        arxiv="1903.10829",
        source="hyunjaelee410/style-based-recalibration-module, models/recalibration_modules.py",
        formula="4C",
        weight_decay="on none of its parameters",
        notes="A new module halves its input, because the weights start at zero. In training mode the batch size must "
        "be 2 or more, because of the batch norm. For a map of one pixel the authors' code returns NaN; here the "
        "deviation is sqrt(1e-5).",
    ),
)
