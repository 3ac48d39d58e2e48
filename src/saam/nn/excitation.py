"""Excitations: how the statistics of all channels become one logit per channel.

Each takes (B, C) or (B, K, C) with the K that it was built for, and gives (B, C). ``zero_last_`` sets the last layer to
zero, so that all logits are zero whatever the input.
"""

import torch
from torch import Tensor, nn

__all__ = ["BottleneckMLP", "ChannelConv1d", "ContextTransform", "NoExcitation", "SharedMLP", "stacked"]


def stacked(statistics: Tensor) -> Tensor:
    """Return the statistics with their axis K: (B, C) -> (B, 1, C); (B, K, C) stays."""
    return statistics if statistics.ndim == 3 else statistics[:, None]


class BottleneckMLP(nn.Module):
    """C -> hidden -> C with a ReLU between (SE); K statistics enter side by side.

    Args:
        channels: C.
        hidden: width of the bottleneck.
        statistics: K.
        bias: biases on both layers.
        device, dtype: of the parameters.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        statistics: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(statistics * channels, hidden, bias=bias, device=device, dtype=dtype)
        self.fc2 = nn.Linear(hidden, channels, bias=bias, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        logits: Tensor = self.fc2(self.fc1(statistics.flatten(1)).relu())
        return logits

    def zero_last_(self) -> None:
        """Make all logits zero."""
        _zero_(self.fc2)


class SharedMLP(nn.Module):
    """One bottleneck MLP on each of the K statistics, the results summed (CBAM). K may be any number.

    Args:
        channels: C.
        hidden: width of the bottleneck.
        device, dtype: of the parameters.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden, device=device, dtype=dtype)
        self.fc2 = nn.Linear(hidden, channels, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        logits: Tensor = self.fc2(self.fc1(stacked(statistics)).relu()).sum(1)
        return logits

    def zero_last_(self) -> None:
        """Make all logits zero."""
        _zero_(self.fc2)


class ChannelConv1d(nn.Module):
    """A convolution over the channel axis, without bias (ECA): each channel sees its ``kernel_size`` neighbours.

    Args:
        kernel_size: odd.
        statistics: K, the convolution's input planes.
        device, dtype: of the parameters.
    """

    def __init__(
        self,
        kernel_size: int,
        *,
        statistics: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        padding = kernel_size // 2
        self.conv = nn.Conv1d(statistics, 1, kernel_size, padding=padding, bias=False, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        logits: Tensor = self.conv(stacked(statistics))
        return logits[:, 0]

    def zero_last_(self) -> None:
        """Make all logits zero."""
        _zero_(self.conv)


class ContextTransform(nn.Module):
    """C -> hidden, LayerNorm, ReLU, -> C, the last layer started at zero (GCNet); K statistics enter side by side.

    With a hidden width of 1 the LayerNorm gives its bias whatever the input: keep ``hidden`` at 2 or more.

    Args:
        channels: C.
        hidden: width of the bottleneck.
        statistics: K.
        device, dtype: of the parameters.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        statistics: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(statistics * channels, hidden, device=device, dtype=dtype)
        self.norm = nn.LayerNorm(hidden, device=device, dtype=dtype)
        self.fc2 = nn.Linear(hidden, channels, device=device, dtype=dtype)
        self.zero_last_()

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        logits: Tensor = self.fc2(self.norm(self.fc1(statistics.flatten(1))).relu())
        return logits

    def zero_last_(self) -> None:
        """Make all logits zero."""
        _zero_(self.fc2)


class NoExcitation(nn.Module):
    """The mean of the K statistics is the logit (GE without parameters)."""

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        return stacked(statistics).mean(1)


def _zero_(layer: nn.Linear | nn.Conv1d) -> None:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
