"""CBAM: channel attention, then spatial attention (Woo et al., ECCV 2018, arXiv:1807.06521).

    y = x * sigmoid(mlp(mean(x)) + mlp(max(x)))                        over the pixels, one factor per channel
    z = y * sigmoid(norm(conv7x7([max(y), mean(y)])))                  over the channels, one factor per pixel

Both channel statistics go through the same MLP.
"""

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam._core.fx import leaf
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import SharedMLP
from saam.nn.spatial_gate import SpatialGate
from saam.nn.squeeze import Squeeze, create_squeeze, statistics_of
from saam.nn.width import reduced

__all__ = ["CBAM", "CHANNEL", "WHOLE", "cbam_channel"]


def cbam_channel(
    channels: int,
    *,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    squeeze: Squeeze = "mean+max",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build the channel part of CBAM: ``x * sigmoid(mlp(mean(x)) + mlp(max(x)))`` (Woo et al., arXiv:1807.06521)."""
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    statistics_of(pool, channels)
    return ChannelAttention(pool, SharedMLP(channels, hidden, device=device, dtype=dtype), nn.Sigmoid())


class CBAM(nn.Module):
    """Convolutional Block Attention Module: ``cbam-channel`` followed by a spatial gate.

    Args:
        channels: C.
        rd_ratio, rd_channels, rd_divisor: The width of the bottleneck, as in timm; C/16 by default.
        kernel_size: Kernel size of the spatial convolution, odd.
        squeeze: Squeeze of the channel part, see :func:`saam.nn.create_squeeze`.
        device, dtype: Device and dtype of the parameters.

    Shape:
        (B, C, H, W) -> (B, C, H, W).

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> CBAM(64)(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 64, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        *,
        rd_ratio: float = 1 / 16,
        rd_channels: int | None = None,
        rd_divisor: int = 1,
        kernel_size: int = 7,
        squeeze: Squeeze = "mean+max",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = int(channels)
        self.channel = cbam_channel(
            channels,
            rd_ratio=rd_ratio,
            rd_channels=rd_channels,
            rd_divisor=rd_divisor,
            squeeze=squeeze,
            device=device,
            dtype=dtype,
        )
        self.spatial = SpatialGate(kernel_size, device=device, dtype=dtype)

    @leaf
    def forward(self, x: Tensor) -> Tensor:
        """Attend to ``x``."""
        require_channels(self.channels, x)
        attended = self.channel(x)
        return attended * self.spatial(attended)


CHANNEL = AttentionRecord(
    name="cbam-channel",
    build=cbam_channel,
    description="mean and max squeeze, one shared MLP on each, summed, sigmoid",
    paper="Woo, Park, Lee, Kweon: CBAM: Convolutional Block Attention Module, ECCV 2018",
    arxiv="1807.06521",
    source="Jongchan/attention-module, MODELS/cbam.py",
    formula="2Cp + p + C",
    weight_decay="on everything",
    notes="This is only the channel part. Pixels that tie for the maximum share its gradient.",
)

WHOLE = AttentionRecord(
    name="cbam",
    build=CBAM,
    description="cbam-channel, then a factor per pixel from the maximum and mean of its channels",
    paper="Woo, Park, Lee, Kweon: CBAM: Convolutional Block Attention Module, ECCV 2018",
    arxiv="1807.06521",
    source="Jongchan/attention-module, MODELS/cbam.py",
    formula="2Cp + p + C + 98 + 2",
    weight_decay="on everything",
    notes="The authors' network starts the scale of the spatial norm at zero, so its gate starts at 1/2; here the "
    "scale starts at one. The norm is not in the paper. Values that tie for the maximum share its gradient.",
)
