"""Score-based aggregation: pooling with learned, input-dependent weights.

    weights[b, g, n] = softmax over pixels n of scores[b, g, n] / temperature
    context[b, c]    = sum over pixels n of weights[b, head(c), n] * x[b, c, n]

Head g of G weighs the channels [g*C/G, (g+1)*C/G). After Lee & Chung, Score-based Aggregation for Attention Modules in
Image Classification Tasks, TIME-E 2019 (doi 10.1109/TIME-E47986.2019.9353302). Only its abstract is public; the
softmax, the heads and the temperature are our reconstruction.
"""

from torch import Tensor

from saam.functional._check import accumulator, require_map
from saam.functional.backend import Backend, choose
from saam.functional.fused import Pooling, pool
from saam.functional.fused_ops import SCORES

__all__ = ["score_aggregate", "score_weights"]


def score_weights(scores: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Turn scores into pooling weights: a softmax over the pixels of each map.

    Args:
        scores: (B, G, H, W), any floating dtype.
        temperature: divides the scores; above 0. Towards 0 the weights pick one pixel, towards infinity they are equal.

    Returns:
        Weights (B, G, H, W) in float32 or wider; each map is non-negative and sums to one.

    Raises:
        ValueError: ``scores`` is not (B, G, H, W), or the temperature is not above 0.
        TypeError: ``scores`` is not floating, a temperature that is not a number.
    """
    require_map(scores, "scores")
    _require_temperature(temperature)
    logits = scores.to(accumulator(scores.dtype)) / temperature
    return logits.flatten(2).softmax(-1).reshape(logits.shape)


def score_aggregate(x: Tensor, scores: Tensor, *, temperature: float = 1.0, backend: Backend = "auto") -> Tensor:
    """Pool each channel of a feature map to one number, each pixel weighing as much as its score says.

    Args:
        x: feature map (B, C, H, W), any floating dtype and memory layout.
        scores: (B, G, H, W), one map per head; G divides C, and head g weighs channels ``g*C/G`` to ``(g+1)*C/G - 1``.
        temperature: divides the scores before the softmax; above 0.
        backend: "auto" takes the fused operation where it exists, "eager" and "fused" insist.

    Returns:
        Context (B, C) in the dtype of ``x``; half types are accumulated in float32.

    Raises:
        ValueError: shapes that do not match, heads that do not divide the channels, a temperature not above 0.
        TypeError: an input that is not floating, a temperature that is not a number.
        RuntimeError: the backend asked for is not available.

    Example:
        >>> import torch
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> score_aggregate(x, torch.zeros(1, 1, 2, 2))  # equal scores: the mean
        tensor([[2.5000]])
        >>> score_aggregate(x, torch.tensor([[[[0.0, 0.0], [0.0, 99.0]]]]))  # one score dominates: its pixel
        tensor([[4.]])
    """
    require_map(x)
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
    _require_temperature(temperature)
    if choose(backend, x) == "fused":
        return pool(x, Pooling(SCORES, scores, temperature=temperature)).to(x.dtype)
    weights = score_weights(scores, temperature=temperature)
    grouped = x.to(accumulator(x.dtype)).view(batch, heads, channels // heads, height, width)
    return (grouped * weights.unsqueeze(2)).sum((3, 4)).flatten(1).to(x.dtype)


def _require_temperature(temperature: float | Tensor) -> None:
    if isinstance(temperature, Tensor):
        raise TypeError("temperature must be a number; to learn it, divide the scores by the tensor before")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
