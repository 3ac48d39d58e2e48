"""Global Second-order Pooling (Gao et al., CVPR 2019, arXiv:1811.12006): squeeze to the covariances of the channels."""

import torch
from torch import nn

from saam._core.devices import Device
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import RowTransform
from saam.nn.protocol import width_of
from saam.nn.squeeze import Covariance, Squeeze, create_squeeze, statistics_of

__all__ = ["RECORDS", "gsop"]


def gsop(
    channels: int,
    *,
    rd_channels: int | None = None,
    squeeze: Squeeze = "covariance",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build the channel attention of Global Second-order Pooling (Gao et al., arXiv:1811.12006).

    ``x * sigmoid(fc(row_conv(norm(covariance(relu(norm(conv1x1(relu(x)))))))))``. The 1x1 convolution reduces the map
    to ``rd_channels`` channels, 128 by default, and the covariance is taken over these.
    """
    require_channels(channels)
    pool: nn.Module
    if squeeze == "covariance":
        pool = Covariance(channels, reduced=128 if rd_channels is None else rd_channels, device=device, dtype=dtype)
    elif rd_channels is not None:
        raise ValueError(f"rd_channels belongs to squeeze='covariance'; leave it out with squeeze={squeeze!r}")
    else:
        pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    rows = width_of(pool, channels)
    transform = RowTransform(channels, rows, statistics=statistics_of(pool, rows), device=device, dtype=dtype)
    return ChannelAttention(pool, transform, nn.Sigmoid())


RECORDS = (
    AttentionRecord(
        name="gsop",
        build=gsop,
        description="covariance of 128 reduced channels, convolution of its rows, sigmoid",
        paper="Gao, Xie, Wang, Li: Global Second-order Pooling Convolutional Networks, CVPR 2019",
        arxiv="1811.12006",
        source="ZilinGao/Global-Second-order-Pooling-Convolutional-Networks, torchvision/models/resnet.py",
        formula="5dC + 4d*d + 9d + C, d = 128",
        weight_decay="on everything",
        notes="This is only the channel attention. It is large at CIFAR widths: 66,688 parameters do not depend on C. "
        "In the first stage of a network the authors' code reduces with stride 2; this module uses every pixel.",
    ),
)
