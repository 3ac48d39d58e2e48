"""Fixed statistics of each channel over its pixels. Half types are accumulated in float32."""

from torch import Tensor

from saam.functional._check import accumulator, require_map

__all__ = ["channel_max", "channel_mean", "channel_std"]


def channel_mean(x: Tensor) -> Tensor:
    """Return the mean over the pixels: (B, C, H, W) -> (B, C), in the dtype of ``x``.

    Raises:
        ValueError: ``x`` is not (B, C, H, W).
        TypeError: ``x`` is not floating.
    """
    require_map(x)
    return x.mean((2, 3), dtype=accumulator(x.dtype)).to(x.dtype)


def channel_max(x: Tensor) -> Tensor:
    """Return the maximum over the pixels: (B, C, H, W) -> (B, C); pixels that tie share the gradient equally.

    Raises:
        ValueError: ``x`` is not (B, C, H, W).
        TypeError: ``x`` is not floating.
    """
    require_map(x)
    return x.amax((2, 3))


def channel_std(x: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Return ``sqrt(var + epsilon)`` over the pixels: (B, C, H, W) -> (B, C), in the dtype of ``x``.

    The variance is the unbiased one, as in SRM; a map of one pixel has variance 0.

    Raises:
        ValueError: ``x`` is not (B, C, H, W).
        TypeError: ``x`` is not floating.
    """
    require_map(x)
    pixels = x.shape[2] * x.shape[3]
    variance = x.to(accumulator(x.dtype)).var((2, 3), correction=1 if pixels > 1 else 0)
    return (variance + epsilon).sqrt().to(x.dtype)
