"""The joint operation ``x * factor(squeeze(x))`` in two passes over ``x``, and its backward in two.

Written out, autograd would pass over the map once for every step and keep copies of its size. Here two nodes stand
around the ordinary autograd of the small tensors between them:

    squeeze   z = statistics of x (B, K, C)                        one pass
    factor    a = respond(z), any modules on small tensors         autograd as always
    rescale   y = a x                                              one pass

    backward of rescale   da = sum over pixels of dy x             one pass
    backward of squeeze   dx = a dy + (dz times dz/dx)             one pass, which also gives the scorer's gradient

For the last line, squeeze needs ``dy`` and ``a``, which only rescale has. It gives rescale two tokens, tensors of one
number that are expanded to the shapes of ``x`` and ``a``; rescale returns ``dy`` and ``a`` as their gradients, and
autograd carries these to squeeze. Nothing of the size of ``x`` is kept but ``x``. With scores s = w.x, weights
p = softmax(s) and the context z = sum p x:

    ds = p (sum_c dz_c x_c - dz.z);    dx = a dy + p dz + w ds;    dw = sum ds x

The operations themselves are in :mod:`saam.functional.fused_ops`, and on CUDA in :mod:`saam.functional.fused_triton`,
which is imported when somebody asks for it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from saam.functional import fused_ops
from saam.functional._check import accumulator

__all__ = ["Pooling", "attend", "pool", "unavailable"]

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class Pooling(NamedTuple):
    """What a squeeze is for the fused operation.

    Args:
        kind: MEAN, MAX, MEAN | MAX, MEAN | VARIANCE, PIXEL, CHANNEL or SCORES of :mod:`saam.functional.fused_ops`.
        scorer: weight (G, C) for PIXEL, (C,) for CHANNEL; (B, G, H, W) for SCORES.
        temperature: divides the scores.
        finish: takes the fused statistics (B, K, C) to those of the squeeze; None for the first of them, (B, C).
    """

    kind: int
    scorer: Tensor | None = None
    temperature: float = 1.0
    finish: Callable[[Tensor], Tensor] | None = None


def pool(x: Tensor, pooling: Pooling) -> Tensor:
    """Squeeze ``x`` (B, C, H, W) and return the statistics, in float32 or wider."""
    statistics, *_ = _squeeze(fused_ops.dense(x), pooling, joint=False)
    return _finish(statistics, pooling)


def attend(x: Tensor, pooling: Pooling, respond: Callable[[Tensor], Tensor], *, adds: bool = False) -> Tensor:
    """Return ``x`` times, or plus, ``respond(statistics of x)``.

    Args:
        x: (B, C, H, W) that a fused implementation exists for, see :func:`unavailable`.
        pooling: the squeeze.
        respond: statistics in float32 or wider -> one value per channel (B, C).
        adds: add the value instead.

    Returns:
        (B, C, H, W), in the dtype and memory layout of ``x``.
    """
    x = fused_ops.dense(x)
    joint = torch.is_grad_enabled()
    statistics, _, token_x, token_a = _squeeze(x, pooling, joint=joint)
    value = _like_sums(respond(_finish(statistics, pooling)), x)
    return fused_ops.rescale(x, value, token_x if joint else None, token_a if joint else None, adds)


def unavailable(x: Tensor) -> str | None:
    """Return why the fused operation cannot compute on ``x``, or None if it can."""
    if x.device.type not in ("cpu", "cuda"):
        return f"there is no fused operation for {x.device.type}"
    if x.dtype not in _DTYPES:
        return f"there is no fused operation for {x.dtype}"
    return fused_ops.missing if x.device.type == "cpu" else _load_triton()


def _load_triton() -> str | None:
    """Load the CUDA implementation; return why it is missing, or None."""
    try:
        from saam.functional import fused_triton  # noqa: F401
    except ImportError as error:
        return f"Triton does not import ({error}); it comes with the CUDA and ROCm builds of PyTorch on Linux"
    return None


def _squeeze(x: Tensor, pooling: Pooling, *, joint: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    scorer = None if pooling.scorer is None else _like_sums(pooling.scorer, x)
    return fused_ops.squeeze(x, scorer, pooling.kind, 1 / pooling.temperature, joint)


def _like_sums(values: Tensor, x: Tensor) -> Tensor:
    """Return ``values`` dense and in the dtype in which ``x`` is summed."""
    if values.device != x.device:
        raise RuntimeError(f"expected all tensors on {x.device}, where the map is, got some on {values.device}")
    return values.to(accumulator(x.dtype)).contiguous()


def _finish(statistics: Tensor, pooling: Pooling) -> Tensor:
    return statistics.flatten(1) if pooling.finish is None else pooling.finish(statistics)
