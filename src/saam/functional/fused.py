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

The operations are ``saam::squeeze`` and ``saam::rescale``. Their CPU implementation is the distribution `saam-native`.
A second derivative goes through eager PyTorch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from saam.functional._check import accumulator

__all__ = ["CHANNEL", "MAX", "MEAN", "PIXEL", "SCORES", "VARIANCE", "Pooling", "attend", "pool", "unavailable"]

MEAN, VARIANCE, MAX = 1, 2, 4
"""Statistics: any of MEAN, MAX, MEAN | MAX and MEAN | VARIANCE (the biased one), in this order along the axis K."""
PIXEL, CHANNEL, SCORES = 8, 16, 32
"""Score pooling: by a weight (G, C) on the pixels, a weight (C,) of each channel on itself, or scores (B, G, H, W)."""


class Pooling(NamedTuple):
    """What a squeeze is for the fused operation.

    Args:
        kind: MEAN, MAX, MEAN | MAX, MEAN | VARIANCE, PIXEL, CHANNEL or SCORES.
        weight: (G, C) for PIXEL, (C,) for CHANNEL.
        scores: (B, G, H, W) for SCORES.
        temperature: divides the scores.
        finish: takes the fused statistics (B, K, C) to those of the squeeze; None for the first of them, (B, C).
    """

    kind: int
    weight: Tensor | None = None
    scores: Tensor | None = None
    temperature: float = 1.0
    finish: Callable[[Tensor], Tensor] | None = None


def pool(x: Tensor, pooling: Pooling) -> Tensor:
    """Squeeze ``x`` (B, C, H, W) and return the statistics, in float32 or wider."""
    x = _dense(x)
    statistics, *_ = torch.ops.saam.squeeze(x, *_scorer(pooling, x), pooling.kind, 1 / pooling.temperature, False)
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
    x = _dense(x)
    joint = torch.is_grad_enabled()
    statistics, _, *tokens = torch.ops.saam.squeeze(
        x, *_scorer(pooling, x), pooling.kind, 1 / pooling.temperature, joint
    )
    value = respond(_finish(statistics, pooling)).to(statistics.dtype).contiguous()
    return torch.ops.saam.rescale(x, value, *(tokens if joint else (None, None)), adds)


def unavailable(x: Tensor) -> str | None:
    """Return why the fused operation cannot compute on ``x``, or None if it can."""
    if x.device.type != "cpu":
        return f"there is no fused operation for {x.device.type}"
    if _reason is not None:
        return _reason
    if x.dtype not in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        return f"there is no fused operation for {x.dtype}"
    return None


def _finish(statistics: Tensor, pooling: Pooling) -> Tensor:
    return statistics[:, 0] if pooling.finish is None else pooling.finish(statistics)


def _scorer(pooling: Pooling, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
    dtype = accumulator(x.dtype)
    weight, scores = pooling.weight, pooling.scores
    return (
        None if weight is None else weight.to(dtype).contiguous(),
        None if scores is None else scores.to(dtype).contiguous(),
    )


def _dense(x: Tensor) -> Tensor:
    """Return ``x`` in one of the two layouts that the kernels read."""
    return x if x.is_contiguous(memory_format=torch.channels_last) else x.contiguous()


def _laid_out_as(other: Tensor, x: Tensor) -> Tensor:
    format = torch.contiguous_format if x.is_contiguous() else torch.channels_last
    return other.contiguous(memory_format=format)


def _eager(x: Tensor, weight: Tensor | None, scores: Tensor | None, kind: int, scale: float) -> Tensor:
    """Compute saam::squeeze in plain operations: (B, K, C)."""
    maps = x.to(accumulator(x.dtype)).flatten(2)
    if kind < PIXEL:
        results = []
        if kind & MEAN:
            results.append(maps.mean(2))
        if kind & VARIANCE:
            results.append(maps.var(2, correction=0))
        if kind & MAX:
            results.append(maps.amax(2))
        return torch.stack(results, 1)
    if kind == PIXEL:
        logits = weight @ maps
    elif kind == CHANNEL:
        logits = weight[:, None] * maps
    else:
        logits = scores.flatten(2)
    weights = (logits * scale).softmax(-1)
    grouped = maps.unflatten(1, (weights.shape[1], -1))
    return (grouped * weights.unsqueeze(2)).sum(3).flatten(1)[:, None]


# ---- Registration: schemas, shapes, autograd, vmap -------------------------------------------------------------------

_SCHEMAS = {
    "squeeze": "(Tensor x, Tensor? weight, Tensor? scores, int kind, float scale, bool joint)"
    " -> (Tensor z, Tensor saved, Tensor token_x, Tensor token_a)",
    "squeeze_backward": "(Tensor x, Tensor? weight, Tensor? scores, Tensor z, Tensor saved, Tensor dz, Tensor? dy,"
    " Tensor? factor, int kind, float scale, bool need_dx) -> (Tensor dx, Tensor dparameter)",
    "rescale": "(Tensor x, Tensor factor, Tensor? token_x, Tensor? token_a, bool adds) -> Tensor",
    "rescale_backward": "(Tensor dy, Tensor x, bool adds) -> Tensor",
}
for _name, _schema in _SCHEMAS.items():
    torch.library.define(f"saam::{_name}", _schema, tags=torch.Tag.pt2_compliant_tag)


@torch.library.register_fake("saam::squeeze")
def _(
    x: Tensor, weight: Tensor | None, scores: Tensor | None, kind: int, scale: float, joint: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, channels = x.shape[:2]
    dtype = accumulator(x.dtype)
    nothing = x.new_empty(0, dtype=dtype)
    token_x = torch.empty_strided(x.shape, (0, 0, 0, 0), dtype=x.dtype, device=x.device) if joint else nothing
    token_a = torch.empty_strided((batch, channels), (0, 0), dtype=dtype, device=x.device) if joint else nothing.clone()
    if kind < PIXEL:
        saved = x.new_empty(batch if kind & MAX else 0, channels, dtype=dtype)
        return x.new_empty(batch, kind.bit_count(), channels, dtype=dtype), saved, token_x, token_a
    heads = channels if kind == CHANNEL else weight.shape[0] if kind == PIXEL else scores.shape[1]
    saved = x.new_empty(2, batch, heads, dtype=dtype)
    return x.new_empty(batch, 1, channels, dtype=dtype), saved, token_x, token_a


@torch.library.register_fake("saam::squeeze_backward")
def _(
    x: Tensor,
    weight: Tensor | None,
    scores: Tensor | None,
    z: Tensor,
    saved: Tensor,
    dz: Tensor,
    dy: Tensor | None,
    factor: Tensor | None,
    kind: int,
    scale: float,
    need_dx: bool,
) -> tuple[Tensor, Tensor]:
    dx = torch.empty_like(x) if need_dx or kind == CHANNEL else z.new_empty(0)
    parameter = scores if kind == SCORES else weight
    return dx, z.new_empty(0) if parameter is None else torch.empty_like(parameter)


@torch.library.register_fake("saam::rescale")
def _(x: Tensor, factor: Tensor, token_x: Tensor | None, token_a: Tensor | None, adds: bool) -> Tensor:
    return torch.empty_like(x)


@torch.library.register_fake("saam::rescale_backward")
def _(dy: Tensor, x: Tensor, adds: bool) -> Tensor:
    return x.new_empty(x.shape[:2], dtype=accumulator(x.dtype))


def _keep_squeeze(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, weight, scores, ctx.kind, ctx.scale, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, weight, scores, *output[:2])


def _squeeze_backward(ctx: Any, dz: Tensor | None, _: None, dy: Tensor | None, factor: Tensor | None) -> Any:
    x, weight, scores, z, saved = ctx.saved_tensors
    need_dx, need_weight, need_scores, *_ = ctx.needs_input_grad
    dz = torch.zeros_like(z) if dz is None else dz.contiguous()
    if torch.is_grad_enabled():
        wanted = [t for t, need in ((x, need_dx), (weight, need_weight), (scores, need_scores)) if need]
        results = iter(
            torch.autograd.grad(_eager(x, weight, scores, ctx.kind, ctx.scale), wanted, dz, create_graph=True)
        )
        dx = next(results) if need_dx else None
        if dx is not None and dy is not None and factor is not None:
            dx = dx + dy * factor.to(dy.dtype)[:, :, None, None]
        return dx, next(results) if need_weight else None, next(results) if need_scores else None, None, None, None
    dy = None if dy is None else _laid_out_as(dy, x)
    dx, dparameter = torch.ops.saam.squeeze_backward(
        x, weight, scores, z, saved, dz, dy, factor, ctx.kind, ctx.scale, need_dx
    )
    return (
        dx if need_dx else None,
        dparameter if need_weight else None,
        dparameter if need_scores else None,
        None,
        None,
        None,
    )


def _keep_rescale(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, factor, token_x, _, ctx.adds = inputs
    ctx.joint = token_x is not None
    ctx.save_for_backward(x, factor)


def _rescale_backward(ctx: Any, dy: Tensor) -> Any:
    x, factor = ctx.saved_tensors
    dy = _laid_out_as(dy, x)
    if torch.is_grad_enabled():
        dfactor = (dy if ctx.adds else dy * x).to(factor.dtype).sum((2, 3))
    else:
        dfactor = torch.ops.saam.rescale_backward(dy, x, ctx.adds)
    slope = torch.ones_like(factor) if ctx.adds else factor
    if ctx.joint:
        return None, dfactor, dy, slope, None
    return dy * slope.to(dy.dtype)[:, :, None, None], dfactor, None, None, None


torch.library.register_autograd("saam::squeeze", _squeeze_backward, setup_context=_keep_squeeze)
torch.library.register_autograd("saam::rescale", _rescale_backward, setup_context=_keep_rescale)


def _each_in_turn(operation: Any) -> Callable[..., Any]:
    """Make the vmap rule that calls the operation once for each member."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        def member(i: int) -> list[Any]:
            chosen = [a if d is None else a.select(d, i) for a, d in zip(args, in_dims, strict=True)]
            return [_dense(a) if isinstance(a, Tensor) and a.ndim == 4 else a for a in chosen]

        results = [operation(*member(i)) for i in range(info.batch_size)]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(torch.stack(r) for r in zip(*results, strict=True)), (0,) * len(results[0])

    return rule


for _name in _SCHEMAS:
    torch.library.register_vmap(f"saam::{_name}", _each_in_turn(getattr(torch.ops.saam, _name)))


def _load() -> str | None:
    """Load the compiled operations; return why they are missing, or None."""
    try:
        from saam_native import library
    except ImportError:
        return "saam-native is not installed; from the repository: pip install --no-build-isolation ./native"
    try:
        torch.ops.load_library(library)
    except OSError as error:
        return f"saam-native does not load ({error}); build it again: pip install --no-build-isolation ./native"
    return None


_reason = _load()
