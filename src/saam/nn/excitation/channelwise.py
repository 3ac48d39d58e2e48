"""Excitations with few parameters per channel: each channel alone, with its neighbours, or relative to all channels."""

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam.nn.excitation._parts import batch_norm, require_statistics, zero_

__all__ = ["ChannelConv1d", "ChannelNormalization", "NoExcitation", "PerChannelLinear", "PerChannelNorm"]


class ChannelConv1d(nn.Module):
    """A convolution over the channel axis, without bias (ECA): each channel sees ``kernel_size`` neighbours.

    Args:
        channels: C.
        kernel_size: Kernel size, odd.
        statistics: K, the number of input planes of the convolution.
        device, dtype: Device and dtype of the parameters.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        *,
        statistics: int = 1,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}")
        self.channels = int(channels)
        self.statistics = statistics
        padding = kernel_size // 2
        self.conv = nn.Conv1d(statistics, 1, kernel_size, padding=padding, bias=False, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        return self.conv(require_statistics(statistics, self.channels, self.statistics))[:, 0]

    def zero_last_(self) -> None:
        """Make all logits zero."""
        zero_(self.conv)


class PerChannelLinear(nn.Module):
    """A weighted sum of the K statistics per channel, then batch norm (SRM): ``norm(sum over k of weight[k] * s[k])``.

    The weights start at zero. In training mode the batch size must be 2 or more, because of the batch norm.

    Args:
        channels: C.
        statistics: K.
        device, dtype: Device and dtype of the parameters.
    """

    def __init__(
        self,
        channels: int,
        *,
        statistics: int = 2,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(statistics, channels, device=device, dtype=dtype))
        self.norm = nn.BatchNorm1d(channels, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        count, channels = self.weight.shape
        statistics = require_statistics(statistics, channels, count)
        return batch_norm(self.norm, (self.weight * statistics).sum(1))

    def zero_last_(self) -> None:
        """Make all logits zero, as they are at the start.

        This zeroes the weights and keeps the scale of the norm: with both at zero, neither would get a gradient.
        """
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.norm.bias)
        self.norm.reset_running_stats()

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that the authors train without weight decay, which are all."""
        return {name for name, _ in self.named_parameters()}


class PerChannelNorm(nn.Module):
    """Batch norm on the mean of the K statistics of each channel (GE with parameters).

    In training mode the batch size must be 2 or more, because of the batch norm.

    Args:
        channels: C.
        device, dtype: Device and dtype of the parameters.
    """

    def __init__(self, channels: int, *, device: Device = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels, device=device, dtype=dtype)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        return batch_norm(self.norm, require_statistics(statistics, self.norm.num_features).mean(1))

    def zero_last_(self) -> None:
        """Make all logits zero."""
        zero_(self.norm)


class ChannelNormalization(nn.Module):
    """Each channel relative to the root mean square of all channels (GCT).

        e      = sum over k of alpha[k] * s[k]
        logits = gamma * e / sqrt(mean over channels of e^2 + epsilon) + beta

    alpha starts at one, and gamma and beta start at zero, so all logits start at zero. Computed in float32 or wider.

    Args:
        channels: C.
        statistics: K.
        epsilon: Added under the root.
        device, dtype: Device and dtype of the parameters.
    """

    def __init__(
        self,
        channels: int,
        *,
        statistics: int = 1,
        epsilon: float = 1e-5,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.alpha = nn.Parameter(torch.ones(statistics, channels, device=device, dtype=dtype))
        self.gamma = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))
        self.beta = nn.Parameter(torch.zeros(channels, device=device, dtype=dtype))

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        count, channels = self.alpha.shape
        statistics = require_statistics(statistics, channels, count)
        wide = torch.promote_types(statistics.dtype, torch.float32)
        embedding = (self.alpha.to(wide) * statistics).sum(1)
        root_mean_square = (embedding.square().mean(1, keepdim=True) + self.epsilon).sqrt()
        return (self.gamma * (embedding / root_mean_square) + self.beta).to(statistics.dtype)

    def zero_last_(self) -> None:
        """Make all logits zero, as they are at the start."""
        nn.init.zeros_(self.gamma)
        nn.init.zeros_(self.beta)

    def no_weight_decay(self) -> set[str]:
        """Return the name of the parameter that the authors train without weight decay."""
        return {"beta"}

    def extra_repr(self) -> str:
        """Name what sets this excitation apart."""
        return f"{self.alpha.shape[1]}, statistics={self.alpha.shape[0]}, epsilon={self.epsilon}"


class NoExcitation(nn.Module):
    """Return the mean of the K statistics as the logit (GE without parameters).

    It has no parameters and therefore no ``zero_last_``.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = int(channels)

    def forward(self, statistics: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        return require_statistics(statistics, self.channels).mean(1)

    def extra_repr(self) -> str:
        """Name what sets this excitation apart."""
        return f"{self.channels}"
