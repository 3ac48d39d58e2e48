"""Score pooling step by step: the scores of the pixels, their weights, and the weighted sums."""

from torch import Tensor
from torch.nn import functional as F

from saam.functional._check import accumulator, require_map, without_autocast

__all__ = ["convolve", "require_scores", "require_temperature", "score_weights", "weigh"]


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, padding: int = 0, groups: int = 1) -> Tensor:
    """Score the pixels of ``x`` by a convolution, ``(B, C, H, W) -> (B, G, H, W)``, in float32 or wider.

    Autocast does not change this, because in float16 a sum over many channels overflows. On CUDA, PyTorch rounds the
    factors of float32 convolutions to TF32 unless ``torch.backends.cudnn.allow_tf32`` is False.

    Args:
        x: Feature map (B, C, H, W).
        weight: (G, C / groups, k, k).
        bias: (G,), or None.
        padding: (k - 1) / 2.
        groups: 1 if every head sees all channels, C if each channel sees only itself.
    """
    dtype = accumulator(x.dtype)
    with without_autocast(x):
        bias = None if bias is None else bias.to(dtype)
        return F.conv2d(x.to(dtype), weight.to(dtype), bias, padding=padding, groups=groups)


def score_weights(scores: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Turn scores into pooling weights: a softmax over the pixels of each map.

    Args:
        scores: (B, G, H, W), any floating dtype.
        temperature: Divides the scores; above 0. Near 0 the weights select one pixel, near infinity they are equal.

    Returns:
        Weights (B, G, H, W) in float32 or wider; each map is non-negative and sums to one.

    Raises:
        ValueError: If ``scores`` is not (B, G, H, W), or the temperature is not above 0.
        TypeError: If ``scores`` is not floating, or the temperature is not a number.
    """
    require_map(scores, "scores")
    require_temperature(temperature)
    logits = scores.to(accumulator(scores.dtype)) / temperature
    return logits.flatten(2).softmax(-1).reshape(logits.shape)


def weigh(x: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sums over the pixels: (B, C, H, W), (B, G, H, W) -> (B, C), in float32 or wider."""
    grouped: Tensor = x.to(accumulator(x.dtype)).unflatten(1, (weights.shape[1], -1))  # type: ignore[no-untyped-call]
    return (grouped * weights.unsqueeze(2)).sum((3, 4)).flatten(1)


def require_scores(x: Tensor, scores: Tensor) -> None:
    """Raise an error unless ``scores`` are (B, G, H, W) for ``x`` (B, C, H, W), where G divides C."""
    require_map(scores, "scores")
    batch, channels, height, width = x.shape
    heads = scores.shape[1]
    if scores.shape[0] != batch or scores.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"scores must be (B, G, H, W) = ({batch}, G, {height}, {width}) for x of shape {tuple(x.shape)}, "
            f"got {tuple(scores.shape)}"
        )
    if channels % heads:
        raise ValueError(f"the heads must divide the channels: {heads} score maps cannot share {channels} channels")


def require_temperature(temperature: float | Tensor) -> None:
    """Raise an error unless the temperature is a number above 0."""
    if isinstance(temperature, Tensor):
        raise TypeError("temperature must be a number; to learn it, divide the scores by the tensor before")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
