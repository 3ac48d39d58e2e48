"""Squeezes to one or two statistics per channel that do not depend on the positions of the pixels."""

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam.functional import (
    channel_gem,
    channel_l2,
    channel_logsumexp,
    channel_max,
    channel_mean,
    channel_std,
    score_aggregate,
)
from saam.functional.fused import MAX, MEAN, VARIANCE, Pooling

__all__ = ["L2", "GeM", "LogSumExp", "Max", "Mean", "MeanMax", "MeanStd", "SoftPool"]


class Mean(nn.Module):
    """The mean over the pixels (SE): (B, C, H, W) -> (B, C)."""

    def pooling(self, x: Tensor) -> Pooling:
        """Return what the fused operation needs of this squeeze."""
        return Pooling(MEAN)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return channel_mean(x)


class Max(nn.Module):
    """The maximum over the pixels: (B, C, H, W) -> (B, C)."""

    def pooling(self, x: Tensor) -> Pooling:
        """Return what the fused operation needs of this squeeze."""
        return Pooling(MAX)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return channel_max(x)


class MeanMax(nn.Module):
    """Mean and maximum (CBAM): (B, C, H, W) -> (B, 2, C)."""

    statistics = 2

    def pooling(self, x: Tensor) -> Pooling:
        """Return what the fused operation needs of this squeeze."""
        return Pooling(MEAN | MAX, finish=lambda mean_max: mean_max)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return torch.stack((channel_mean(x), channel_max(x)), 1)


class MeanStd(nn.Module):
    """Mean and standard deviation (SRM): (B, C, H, W) -> (B, 2, C)."""

    statistics = 2

    def pooling(self, x: Tensor) -> Pooling:
        """Return what the fused operation needs of this squeeze."""
        pixels = x.shape[2] * x.shape[3]
        unbiased = pixels / max(pixels - 1, 1)

        def finish(mean_variance: Tensor) -> Tensor:
            mean, variance = mean_variance.unbind(1)
            return torch.stack((mean, (variance * unbiased + 1e-5).sqrt()), 1)

        return Pooling(MEAN | VARIANCE, finish=finish)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return torch.stack((channel_mean(x), channel_std(x)), 1)


class L2(nn.Module):
    """The L2 norm over the pixels (GCT): (B, C, H, W) -> (B, C), in float32 or wider."""

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return channel_l2(x)


class GeM(nn.Module):
    """The generalised mean with a learned exponent, see :func:`saam.functional.channel_gem`.

    It ignores negative values, so it suits maps after a ReLU.

    Args:
        exponent: Initial value of the exponent p, shared by all channels; above 0.
        device, dtype: Device and dtype of the parameter.

    Shape:
        (B, C, H, W) -> (B, C).
    """

    def __init__(self, exponent: float = 3.0, *, device: Device = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        if not exponent > 0:
            raise ValueError(f"exponent must be above 0, got {exponent}")
        self.exponent = nn.Parameter(torch.full((1,), exponent, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return channel_gem(x, self.exponent)


class LogSumExp(nn.Module):
    """A smooth maximum, see :func:`saam.functional.channel_logsumexp`: (B, C, H, W) -> (B, C).

    Args:
        sharpness: Above 0; larger values are closer to the maximum.
    """

    def __init__(self, *, sharpness: float = 1.0) -> None:
        super().__init__()
        if not sharpness > 0:
            raise ValueError(f"sharpness must be above 0, got {sharpness}")
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return channel_logsumexp(x, sharpness=self.sharpness)

    def extra_repr(self) -> str:
        """Name what sets this squeeze apart."""
        return f"sharpness={self.sharpness}"


class SoftPool(nn.Module):
    """Each channel pooled by the softmax of its own values: (B, C, H, W) -> (B, C).

    This is score aggregation over the whole map with the map itself as scores (Stergiou, Poppe, Kalliatakis: Refining
    Activation Downsampling with SoftPool, ICCV 2021, arXiv:2101.00440).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return score_aggregate(x, x)
