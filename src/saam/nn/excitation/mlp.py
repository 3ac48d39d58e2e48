"""Excitations with fully connected layers, where every channel sees all channels."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam.nn.excitation._parts import batch_norm, require_side_by_side, require_statistics, zero_
from saam.nn.excitation.channelwise import PerChannelNorm

__all__ = ["BottleneckMLP", "FullLinear", "NormedMLP", "SharedMLP"]

Norm = Literal["batch", "layer"]


class BottleneckMLP(nn.Module):
    """C -> hidden -> C with a ReLU in between (SE). K statistics are concatenated to K*C inputs.

    Args:
        channels: C.
        hidden: Width of the bottleneck.
        statistics: K.
        bias: Whether both layers have biases.
        norm: Norm of the bottleneck, before the ReLU. With "batch" (BAM) the batch size must be 2 or more in training
            mode. With "layer" (GCNet) and ``hidden=1`` the output is the norm's bias, for any input.
        device, dtype: Device and dtype of the parameters.

    Raises:
        ValueError: If the norm is unknown.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        statistics: int = 1,
        bias: bool = True,
        norm: Norm | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if norm not in (None, *get_args(Norm)):
            raise ValueError(f"norm must be one of {', '.join(get_args(Norm))}, or None, got {norm!r}")
        self.channels = int(channels)
        self.statistics = statistics
        self.fc1 = nn.Linear(statistics * channels, hidden, bias=bias, device=device, dtype=dtype)
        self.norm: nn.BatchNorm1d | nn.LayerNorm | None = None
        if norm is not None:
            self.norm = (nn.BatchNorm1d if norm == "batch" else nn.LayerNorm)(hidden, device=device, dtype=dtype)
        self.fc2 = nn.Linear(hidden, channels, bias=bias, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        statistics = require_side_by_side(statistics, self.channels, self.statistics)
        hidden = self.fc1(statistics)
        if isinstance(self.norm, nn.BatchNorm1d):
            hidden = batch_norm(self.norm, hidden)
        elif self.norm is not None:
            hidden = self.norm(hidden)
        return self.fc2(hidden.relu())

    def zero_last_(self) -> None:
        """Make all logits zero."""
        zero_(self.fc2)


class SharedMLP(nn.Module):
    """Apply one bottleneck MLP to each of the K statistics and sum the results (CBAM). K may be any number.

    Args:
        channels: C.
        hidden: Width of the bottleneck.
        device, dtype: Device and dtype of the parameters.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = int(channels)
        self.fc1 = nn.Linear(channels, hidden, device=device, dtype=dtype)
        self.fc2 = nn.Linear(hidden, channels, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        statistics = require_statistics(statistics, self.channels)
        return self.fc2(self.fc1(statistics).relu()).sum(1)

    def zero_last_(self) -> None:
        """Make all logits zero."""
        zero_(self.fc2)


class FullLinear(nn.Module):
    """C -> C without a bottleneck (eSE). K statistics are concatenated to K*C inputs.

    Args:
        channels: C.
        statistics: K.
        device, dtype: Device and dtype of the parameters.
    """

    def __init__(
        self,
        channels: int,
        *,
        statistics: int = 1,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = int(channels)
        self.statistics = statistics
        self.fc = nn.Linear(statistics * channels, channels, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        statistics = require_side_by_side(statistics, self.channels, self.statistics)
        return self.fc(statistics)

    def zero_last_(self) -> None:
        """Make all logits zero."""
        zero_(self.fc)


class NormedMLP(nn.Module):
    """Batch norm of the mean of the K statistics, ReLU, then C -> hidden -> C with a ReLU in between (GE-plus).

    In training mode the batch size must be 2 or more, because of the batch norm.

    Args:
        channels: C.
        hidden: Width of the bottleneck.
        device, dtype: Device and dtype of the parameters.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.norm = PerChannelNorm(channels, device=device, dtype=dtype)
        self.mlp = BottleneckMLP(channels, hidden, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        return self.mlp(self.norm(statistics).relu())

    def zero_last_(self) -> None:
        """Make all logits zero."""
        self.mlp.zero_last_()
