"""The functions that modules call: a squeeze alone, and a squeeze whose factor is applied to the map."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from saam.functional._check import accumulator
from saam.functional.combine import require_values
from saam.functional.fused import autograd
from saam.functional.fused.operations import KINDS, SCORES, dense
from saam.functional.scores import require_scores

__all__ = ["Pooling", "attend", "pool"]


class Pooling(NamedTuple):
    """Describe a squeeze to the fused operation.

    Args:
        kind: MEAN, MAX, MEAN | MAX, MEAN | VARIANCE, PIXEL, CHANNEL or SCORES of :mod:`saam.functional.fused`.
        scorer: Weight (G, C) for PIXEL, (C,) for CHANNEL; (B, G, H, W) for SCORES.
        temperature: Divides the scores.
        finish: Function from the fused statistics (B, K, C) to those of the squeeze; None takes the first, (B, C).
    """

    kind: int
    scorer: Tensor | None = None
    temperature: float = 1.0
    finish: Callable[[Tensor], Tensor] | None = None


def pool(x: Tensor, pooling: Pooling) -> Tensor:
    """Squeeze ``x`` (B, C, H, W) and return the statistics, in float32 or wider.

    Raises:
        ValueError, RuntimeError: As :func:`attend`.
    """
    statistics, *_ = _squeeze(dense(x), pooling, joint=False)
    return _finish(statistics, pooling)


def attend(x: Tensor, pooling: Pooling, respond: Callable[[Tensor], Tensor], *, adds: bool = False) -> Tensor:
    """Return ``x`` times ``respond(statistics of x)``, or plus it.

    Args:
        x: (B, C, H, W) for which a fused implementation exists, see :func:`saam.functional.backend.choose`.
        pooling: The squeeze.
        respond: Statistics in float32 or wider -> one value per channel (B, C).
        adds: Whether to add the value instead of multiplying by it.

    Returns:
        (B, C, H, W), in the dtype and memory layout of ``x``.

    Raises:
        ValueError: If there is no squeeze of this kind, or scores or values have another shape.
        RuntimeError: If a scorer or a value is on another device than ``x``.
    """
    x = dense(x)
    joint = torch.is_grad_enabled()
    statistics, _, token_x, token_a = _squeeze(x, pooling, joint=joint)
    value = respond(_finish(statistics, pooling))
    require_values(x, value)
    value = _like_sums(value, x)
    return autograd.rescale(x, value, token_x if joint else None, token_a if joint else None, adds)


def _squeeze(x: Tensor, pooling: Pooling, *, joint: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if pooling.kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(map(str, KINDS))}, see Pooling, got {pooling.kind}")
    scorer = pooling.scorer
    if scorer is not None and pooling.kind == SCORES:
        require_scores(x, scorer)
        if _narrows(scorer, x):
            scorer = scorer - scorer.detach().amax((2, 3), keepdim=True)  # no effect on the softmax; keeps the digits
    scorer = None if scorer is None else _like_sums(scorer, x)
    return autograd.squeeze(x, scorer, pooling.kind, 1 / pooling.temperature, joint)


def _narrows(values: Tensor, x: Tensor) -> bool:
    """Return whether ``values`` are wider than the accumulation dtype of ``x``."""
    return torch.promote_types(values.dtype, accumulator(x.dtype)) != accumulator(x.dtype)


def _like_sums(values: Tensor, x: Tensor) -> Tensor:
    """Return ``values`` dense and in the accumulation dtype of ``x``."""
    if values.device != x.device:
        raise RuntimeError(
            f"expected all tensors on {x.device}, where the map is, got some on {values.device}; move them with .to()"
        )
    return values.to(accumulator(x.dtype)).contiguous()


def _finish(statistics: Tensor, pooling: Pooling) -> Tensor:
    statistics = statistics.clone()  # the backward needs its own if a module changes these in place
    return statistics.flatten(1) if pooling.finish is None else pooling.finish(statistics)
