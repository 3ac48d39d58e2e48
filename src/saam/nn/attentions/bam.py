"""BAM: channel and spatial attention in parallel (Park et al., BMVC 2018, arXiv:1807.06514).

    channel = fc2(relu(norm(fc1(mean(x)))))                                                      (B, C)
    spatial = conv1x1(relu(norm(conv3x3(relu(norm(conv3x3(relu(norm(conv1x1(x))))))))))          (B, 1, H, W)
    y       = x * (1 + sigmoid(channel * spatial))           in the authors' code
    y       = x * (1 + sigmoid(channel + spatial))           in the paper

The 3x3 convolutions are dilated by 4; all layers have biases. The paper's equations have one norm at the end of each
branch. Both forms here have the norms of the code, so that they differ only in the combination.
"""

from dataclasses import replace
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam._core.fx import leaf
from saam.functional._check import without_autocast
from saam.nn._check import require_channels
from saam.nn._dtype import dtype_of
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import BottleneckMLP
from saam.nn.gate import OnePlusSigmoid
from saam.nn.squeeze import Squeeze, create_squeeze, statistics_of
from saam.nn.width import reduced

__all__ = ["BAM", "CHANNEL", "RECORDS", "bam_channel"]

Combination = Literal["product", "sum"]


def bam_channel(
    channels: int,
    *,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    squeeze: Squeeze = "mean",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build BAM's channel branch: ``x * (1 + sigmoid(fc2(relu(norm(fc1(mean(x)))))))`` (Park et al., arXiv:1807.06514).

    The batch norm is on the bottleneck, as in the official code.
    """
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    statistics = statistics_of(pool, channels)
    mlp = BottleneckMLP(channels, hidden, statistics=statistics, norm="batch", device=device, dtype=dtype)
    return ChannelAttention(pool, mlp, OnePlusSigmoid())


class BAM(nn.Module):
    """Bottleneck Attention Module.

    Both branches are computed in the dtype of the parameters, also under autocast.

    Args:
        channels: C.
        rd_ratio, rd_channels, rd_divisor: The width of both bottlenecks, as in timm; C/16 by default.
        combination: "product" of the branches as in the authors' code, or their "sum" as in the paper.
        squeeze: Squeeze of the channel branch, see :func:`saam.nn.create_squeeze`.
        device, dtype: Device and dtype of the parameters.

    Shape:
        (B, C, H, W) -> (B, C, H, W). In training mode the batch size must be 2 or more, because of the batch norm.

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> BAM(64)(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
    """

    def __init__(
        self,
        channels: int,
        *,
        rd_ratio: float = 1 / 16,
        rd_channels: int | None = None,
        rd_divisor: int = 1,
        combination: Combination = "product",
        squeeze: Squeeze = "mean",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if combination not in get_args(Combination):
            raise ValueError(f"combination must be one of {', '.join(get_args(Combination))}, got {combination!r}")
        hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
        self.channels = int(channels)
        self.combination = combination
        channel = bam_channel(channels, rd_channels=hidden, squeeze=squeeze, device=device, dtype=dtype)
        self.squeeze = channel.squeeze
        self.excitation = channel.excitation
        self.spatial = nn.Sequential(
            *_layer(channels, hidden, 1, device, dtype),
            *_layer(hidden, hidden, 3, device, dtype),
            *_layer(hidden, hidden, 3, device, dtype),
            nn.Conv2d(hidden, 1, 1, device=device, dtype=dtype),
        )

    @leaf
    def forward(self, x: Tensor) -> Tensor:
        """Attend to ``x``."""
        require_channels(self.channels, x)
        statistics = self.squeeze(x)
        dtype = dtype_of(self.spatial, otherwise=x.dtype)
        with without_autocast(x):
            channel = self.excitation(statistics.to(dtype))[:, :, None, None]
            spatial = self.spatial(x.to(dtype))
        logits = channel * spatial if self.combination == "product" else channel + spatial
        return x * (1 + logits.sigmoid()).to(x.dtype)

    def extra_repr(self) -> str:
        """Name what sets this module apart."""
        return f"combination={self.combination!r}"


def _layer(
    channels_in: int, channels: int, kernel_size: int, device: Device, dtype: torch.dtype | None
) -> tuple[nn.Module, ...]:
    dilation = 4 if kernel_size > 1 else 1
    padding = dilation * (kernel_size // 2)
    return (
        nn.Conv2d(channels_in, channels, kernel_size, padding=padding, dilation=dilation, device=device, dtype=dtype),
        nn.BatchNorm2d(channels, device=device, dtype=dtype),
        nn.ReLU(),
    )


CHANNEL = AttentionRecord(
    name="bam-channel",
    build=bam_channel,
    description="mean squeeze, bottleneck MLP with a batch norm, 1 + sigmoid",
    paper="Park, Woo, Lee, Kweon: BAM: Bottleneck Attention Module, BMVC 2018",
    arxiv="1807.06514",
    source="Jongchan/attention-module, MODELS/bam.py",
    placement="at the end of each stage but the last",
    formula="2Cp + 3p + C",
    weight_decay="on everything",
    notes="This is only the channel branch. The norm is on the bottleneck, as in the code; the paper's equation has it "
    "at the end. In training mode the batch size must be 2 or more, because of the batch norm. The factor is "
    "between 1 and 2. Started as the identity, the module is faded in by a learned scale that starts at 0.",
)

_CODE = AttentionRecord(
    name="bam:code",
    build=BAM,
    description="channel and spatial branch in parallel, x * (1 + sigmoid of their product)",
    paper="Park, Woo, Lee, Kweon: BAM: Bottleneck Attention Module, BMVC 2018",
    arxiv="1807.06514",
    source="Jongchan/attention-module, MODELS/bam.py",
    placement="at the end of each stage but the last",
    formula="3Cp + 18p*p + 13p + C + 1",
    weight_decay="on everything",
    notes="In training mode the batch size must be 2 or more, because of the batch norm. The authors' code fails on "
    "maps that are not square; this module pools the whole map.",
)

RECORDS = (
    _CODE,
    replace(
        _CODE,
        name="bam:paper",
        build=partial(BAM, combination="sum"),
        description="channel and spatial branch in parallel, x * (1 + sigmoid of their sum)",
        source="the paper, equation 2; norms as in Jongchan/attention-module, MODELS/bam.py",
        notes=f"{_CODE.notes} The paper's equations have a norm at the end of each branch and none inside; here the "
        "two variants differ only in the combination.",
    ),
    replace(_CODE, name="bam", notes=f"The same as bam:code. {_CODE.notes}"),
)
