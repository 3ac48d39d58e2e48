"""Coordinate Attention (Hou et al., CVPR 2021, arXiv:2103.02907): a factor for every row and one for every column.

    joint      = hardswish(norm(conv1x1([row means, column means])))        (B, m, H + W), m = max(8, C / 32)
    y[b,c,i,j] = x[b,c,i,j] * sigmoid(conv1x1(joint over rows))[b,c,i] * sigmoid(conv1x1(joint over columns))[b,c,j]

The two last convolutions have separate weights.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saam._core.devices import Device
from saam._core.fx import leaf
from saam.functional._check import accumulator, without_autocast
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord

__all__ = ["RECORDS", "CoordAttention"]

_NARROWEST = 8


class CoordAttention(nn.Module):
    """Coordinate Attention: rows and columns share a bottleneck, and each has its own expansion and gate.

    The row and column means are computed in float32 and then converted to the dtype of the parameters, also under
    autocast.

    Args:
        channels: C.
        rd_ratio: The bottleneck has C * rd_ratio channels, rounded down, and at least 8.
        rd_channels: Width of the bottleneck; overrides the ratio.
        device, dtype: Device and dtype of the parameters.

    Shape:
        (B, C, H, W) -> (B, C, H, W).

    Raises:
        ValueError: If a ratio or width is not above 0.

    Example:
        >>> CoordAttention(64)(torch.randn(2, 64, 7, 9)).shape
        torch.Size([2, 64, 7, 9])
    """

    def __init__(
        self,
        channels: int,
        *,
        rd_ratio: float = 1 / 32,
        rd_channels: int | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        require_channels(channels)
        if not rd_ratio > 0 or (rd_channels is not None and rd_channels < 1):
            raise ValueError(f"rd_ratio must be above 0 and rd_channels 1 or more, got {rd_ratio} and {rd_channels}")
        self.channels = int(channels)
        hidden = max(_NARROWEST, int(channels * rd_ratio)) if rd_channels is None else rd_channels
        self.reduce = nn.Conv1d(channels, hidden, 1, device=device, dtype=dtype)
        self.norm = nn.BatchNorm1d(hidden, device=device, dtype=dtype)
        self.expand_rows = nn.Conv1d(hidden, channels, 1, device=device, dtype=dtype)
        self.expand_columns = nn.Conv1d(hidden, channels, 1, device=device, dtype=dtype)

    @leaf
    def forward(self, x: Tensor) -> Tensor:
        """Attend to ``x``."""
        require_channels(self.channels, x)
        wide = accumulator(x.dtype)
        means = torch.cat((x.mean(3, dtype=wide), x.mean(2, dtype=wide)), 2).to(self.reduce.weight.dtype)
        with without_autocast(x):
            joint = F.hardswish(self.norm(self.reduce(means)))
            rows = self.expand_rows(joint[:, :, : x.shape[2]]).sigmoid().to(x.dtype)
            columns = self.expand_columns(joint[:, :, x.shape[2] :]).sigmoid().to(x.dtype)
        return x * rows[:, :, :, None] * columns[:, :, None, :]


RECORDS = (
    AttentionRecord(
        name="coord",
        build=CoordAttention,
        description="a factor per row and one per column, from row and column means through a shared bottleneck",
        paper="Hou, Zhou, Feng: Coordinate Attention for Efficient Mobile Network Design, CVPR 2021",
        arxiv="2103.02907",
        source="houqb/CoordAttention, coordatt.py",
        placement="in the expanded part of an inverted residual, before the last convolution",
        formula="3Cm + 3m + 2C, m = max(8, C/32)",
        weight_decay="not published",
        notes="The bottleneck is at least 8 wide, which is a lot at CIFAR widths.",
    ),
)
