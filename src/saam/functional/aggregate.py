"""Score-based aggregation: pooling with learned, input-dependent weights.

    weights[b, g, n] = softmax over pixels n of scores[b, g, n] / temperature
    context[b, c]    = sum over pixels n of weights[b, head(c), n] * x[b, c, n]

Head g of G weighs the channels [g*C/G, (g+1)*C/G). After Lee & Chung, Score-based Aggregation for Attention Modules in
Image Classification Tasks, TIME-E 2019 (doi 10.1109/TIME-E47986.2019.9353302). Only its abstract is public; the
softmax, the heads and the temperature are our reconstruction.
"""

from torch import Tensor

from saam.functional._check import require_map
from saam.functional.backend import Backend, choose
from saam.functional.fused import SCORES, Pooling, pool
from saam.functional.scores import require_scores, require_temperature, score_weights, weigh

__all__ = ["score_aggregate"]


def score_aggregate(x: Tensor, scores: Tensor, *, temperature: float = 1.0, backend: Backend | None = None) -> Tensor:
    """Pool each channel of a feature map to one number, with pixel weights given by scores.

    Args:
        x: Feature map (B, C, H, W), any floating dtype and memory layout.
        scores: (B, G, H, W), one map per head; G divides C, and head g weighs channels ``g*C/G`` to ``(g+1)*C/G - 1``.
        temperature: Divides the scores before the softmax; above 0.
        backend: "auto" uses the fused operation on the CPU if possible; "eager" and "fused" require that backend. None
            uses the backend set by :func:`saam.use_backend`, which defaults to "auto".

    Returns:
        Context (B, C) in the dtype of ``x``; half types are accumulated in float32.

    Raises:
        ValueError: If shapes do not match, the heads do not divide the channels, the temperature is not above 0, or the
            backend is unknown.
        TypeError: If an input is not floating, or the temperature is not a number.
        RuntimeError: If "fused" was requested and cannot run here.

    Example:
        >>> import torch
        >>> x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
        >>> score_aggregate(x, torch.zeros(1, 1, 2, 2))  # equal scores: the mean
        tensor([[2.5000]])
        >>> score_aggregate(x, torch.tensor([[[[0.0, 0.0], [0.0, 99.0]]]]))  # one score dominates: its pixel
        tensor([[4.]])
    """
    require_map(x)
    require_temperature(temperature)
    if choose(backend, x) == "fused":
        return pool(x, Pooling(SCORES, scores, temperature=temperature)).to(x.dtype)
    require_scores(x, scores)
    return weigh(x, score_weights(scores, temperature=temperature)).to(x.dtype)
