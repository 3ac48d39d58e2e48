"""Statistics of each channel over its pixels. Half types are accumulated in float32.

Statistics that lie between the smallest and the largest value of the channel are returned in the dtype of the input.
Those that can be larger (:func:`channel_l2`, :func:`channel_covariance`) are returned in float32 or wider, to avoid
overflow.
"""

from torch import Tensor

from saam.functional._check import accumulator, require_map, without_autocast

__all__ = [
    "channel_covariance",
    "channel_gem",
    "channel_l2",
    "channel_logsumexp",
    "channel_max",
    "channel_mean",
    "channel_std",
    "channel_variance",
]


def channel_mean(x: Tensor) -> Tensor:
    """Return the mean over the pixels: (B, C, H, W) -> (B, C), in the dtype of ``x``.

    Raises:
        ValueError: If ``x`` is not (B, C, H, W).
        TypeError: If ``x`` is not floating.
    """
    require_map(x)
    return x.mean((2, 3), dtype=accumulator(x.dtype)).to(x.dtype)


def channel_max(x: Tensor) -> Tensor:
    """Return the maximum over the pixels: (B, C, H, W) -> (B, C). Tied pixels share the gradient equally.

    Raises:
        ValueError: If ``x`` is not (B, C, H, W).
        TypeError: If ``x`` is not floating.
    """
    require_map(x)
    return x.amax((2, 3))


def channel_std(x: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Return ``sqrt(var + epsilon)`` over the pixels: (B, C, H, W) -> (B, C), in the dtype of ``x``.

    The variance is unbiased, as in SRM. A map of one pixel has variance 0.

    Raises:
        ValueError: If ``x`` is not (B, C, H, W).
        TypeError: If ``x`` is not floating.
    """
    require_map(x)
    pixels = x.shape[2] * x.shape[3]
    return (channel_variance(x, correction=1 if pixels > 1 else 0) + epsilon).sqrt().to(x.dtype)


def channel_variance(x: Tensor, *, correction: int = 0) -> Tensor:
    """Return the variance over the pixels in float32 or wider: (B, C, H, W) -> (B, C); biased with ``correction=0``."""
    return x.to(accumulator(x.dtype)).var((2, 3), correction=correction)


def channel_l2(x: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Return ``sqrt(sum of squares + epsilon)`` over the pixels: (B, C, H, W) -> (B, C), in float32 or wider.

    Raises:
        ValueError: If ``x`` is not (B, C, H, W).
        TypeError: If ``x`` is not floating.
    """
    require_map(x)
    return (x.to(accumulator(x.dtype)).square().sum((2, 3)) + epsilon).sqrt()


def channel_gem(x: Tensor, exponent: Tensor | float = 3.0, *, epsilon: float = 1e-6) -> Tensor:
    """Return the generalised mean over the pixels, ``mean(max(x, epsilon)^p)^(1/p)``: (B, C, H, W) -> (B, C).

    It goes from the mean of the positive values at p = 1 towards the maximum as p grows (Radenovic, Tolias, Chum:
    Fine-tuning CNN Image Retrieval with No Human Annotation, TPAMI 2018, arXiv:1711.02512). It is computed with
    logarithms, so that no power overflows.

    Args:
        x: Feature map; values below ``epsilon`` count as ``epsilon`` and get no gradient.
        exponent: The exponent p, above 0; a number or a tensor of one element.
        epsilon: The smallest value, above 0.

    Returns:
        (B, C), in the dtype of ``x``.

    Raises:
        ValueError: If ``x`` is not (B, C, H, W), or the exponent is a number that is not above 0.
        TypeError: If ``x`` is not floating.
    """
    require_map(x)
    wide = accumulator(x.dtype)
    if isinstance(exponent, Tensor):
        exponent = exponent.to(wide)
    elif not exponent > 0:
        raise ValueError(f"exponent must be above 0, got {exponent}")
    logs = x.to(wide).clamp(min=epsilon).log() * exponent
    return (_log_mean_exp(logs) / exponent).exp().to(x.dtype)


def channel_logsumexp(x: Tensor, *, sharpness: float = 1.0) -> Tensor:
    """Return ``log(mean(exp(r x))) / r`` over the pixels: (B, C, H, W) -> (B, C), in the dtype of ``x``.

    This is a smooth maximum, from the mean as r goes to 0 to the maximum as r grows (Pinheiro, Collobert: From
    Image-level to Pixel-level Labeling with Convolutional Networks, CVPR 2015, arXiv:1411.6228).

    Args:
        x: Feature map.
        sharpness: The sharpness r, above 0.

    Raises:
        ValueError: If ``x`` is not (B, C, H, W), or the sharpness is not above 0.
        TypeError: If ``x`` is not floating.
    """
    require_map(x)
    if not sharpness > 0:
        raise ValueError(f"sharpness must be above 0, got {sharpness}")
    return (_log_mean_exp(x.to(accumulator(x.dtype)) * sharpness) / sharpness).to(x.dtype)


def channel_covariance(x: Tensor) -> Tensor:
    """Return the covariances of the channels over the pixels: (B, C, H, W) -> (B, C, C), in float32 or wider.

    They are divided by the number of pixels, as in GSoP. A map of one pixel has covariance 0.

    Raises:
        ValueError: If ``x`` is not (B, C, H, W).
        TypeError: If ``x`` is not floating.
    """
    require_map(x)
    pixels = x.to(accumulator(x.dtype)).flatten(2)
    centred = pixels - pixels.mean(2, keepdim=True)
    with without_autocast(x):
        return centred @ centred.mT / pixels.shape[2]


def _log_mean_exp(x: Tensor) -> Tensor:
    """Return ``log(mean(exp(x)))`` over the pixels, (B, C, H, W) -> (B, C), without overflow."""
    highest = x.detach().amax((2, 3), keepdim=True)
    return (x - highest).exp().mean((2, 3)).log() + highest[:, :, 0, 0]
