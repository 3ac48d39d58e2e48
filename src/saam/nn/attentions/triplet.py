"""Triplet Attention (Misra et al., WACV 2021, arXiv:2010.03045): three CBAM spatial gates on three views of the map.

    y = x * (gate over (H, W) + gate over (C, W) + gate over (H, C)) / 3

The official code permutes the whole map for each view; permuting the pooled maps instead computes the same.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam._core.fx import leaf
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord
from saam.nn.spatial_gate import SpatialGate

__all__ = ["RECORDS", "Triplet"]


class Triplet(nn.Module):
    """The mean of three spatial gates: one shared by the channels, one by the rows and one by the columns.

    Args:
        channels: C, checked against the input. The parameters do not depend on it.
        kernel_size: Kernel size of the three convolutions, odd.
        device, dtype: Device and dtype of the parameters.

    Shape:
        (B, C, H, W) -> (B, C, H, W).

    Raises:
        ValueError: If the kernel size is even.

    Example:
        >>> sum(parameter.numel() for parameter in Triplet(64).parameters())
        300
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 7,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        require_channels(channels)
        self.channels = int(channels)

        def gate(axis: Literal[1, 2, 3]) -> SpatialGate:
            return SpatialGate(kernel_size, axis=axis, device=device, dtype=dtype)

        self.over_channels = gate(1)
        self.over_rows = gate(2)
        self.over_columns = gate(3)

    @leaf
    def forward(self, x: Tensor) -> Tensor:
        """Attend to ``x``."""
        require_channels(self.channels, x)
        return x * ((self.over_channels(x) + self.over_rows(x) + self.over_columns(x)) / 3)


RECORDS = (
    AttentionRecord(
        name="triplet",
        build=Triplet,
        description="mean of three spatial gates of CBAM, over (H, W), (C, W) and (H, C)",
        paper="Misra, Nalamada, Arasanipalai, Hou: Rotate to Attend: Convolutional Triplet Attention Module, WACV 2021",
        arxiv="2010.03045",
        source="landskape-ai/triplet-attention, triplet_attention.py",
        formula="300",
        weight_decay="on everything",
        notes="It has few parameters but much memory traffic: measure its time. Permuting channels changes the result.",
    ),
)
