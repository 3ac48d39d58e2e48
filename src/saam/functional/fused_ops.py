"""The operations ``saam::squeeze`` and ``saam::rescale`` and their backwards: schemas, shapes, autograd, vmap.

Their CPU implementation is the distribution `saam-native`, loaded here where it is installed; their CUDA implementation
is :mod:`saam.functional.fused_triton`. What they compute and how the tokens tie them together is told in
:mod:`saam.functional.fused`; a second derivative goes through eager PyTorch.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saam.functional._check import accumulator
from saam.functional.combine import as_map, value_gradient

__all__ = ["CHANNEL", "MAX", "MEAN", "PIXEL", "SCORES", "VARIANCE", "dense", "missing", "rescale", "squeeze"]

MEAN, VARIANCE, MAX = 1, 2, 4
"""Statistics: MEAN, MAX, MEAN | MAX and MEAN | VARIANCE (the biased one), in this order along the axis K."""
PIXEL, CHANNEL, SCORES = 8, 16, 32
"""Score pooling: by a weight (G, C) on the pixels, a weight (C,) of each channel on itself, or scores (B, G, H, W)."""

_INTERFACE = 1
"""Counts the changes of the schemas; saam-native says for which of them it is."""

_SCHEMAS = {
    "squeeze": "(Tensor x, Tensor? scorer, int kind, float scale, bool joint)"
    " -> (Tensor z, Tensor saved, Tensor token_x, Tensor token_a)",
    "squeeze_backward": "(Tensor x, Tensor? scorer, Tensor z, Tensor saved, Tensor dz, Tensor? dy, Tensor? factor,"
    " int kind, float scale, bool need_dx) -> (Tensor dx, Tensor dscorer)",
    "rescale": "(Tensor x, Tensor factor, Tensor? token_x, Tensor? token_a, bool adds) -> Tensor",
    "rescale_backward": "(Tensor dy, Tensor x, bool adds) -> Tensor",
}


def dense(x: Tensor) -> Tensor:
    """Return ``x`` in one of the two layouts that the operations read: contiguous or channels_last."""
    return x if x.is_contiguous() or _is_channels_last(x) else x.contiguous()


def squeeze(
    x: Tensor, scorer: Tensor | None, kind: int, scale: float, joint: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Call saam::squeeze by the shortest way."""
    call = _Squeeze.apply if _direct() else torch.ops.saam.squeeze.default
    result: tuple[Tensor, Tensor, Tensor, Tensor] = call(x, scorer, kind, scale, joint)
    return result


def rescale(x: Tensor, factor: Tensor, token_x: Tensor | None, token_a: Tensor | None, adds: bool) -> Tensor:
    """Call saam::rescale by the shortest way."""
    call = _Rescale.apply if _direct() else torch.ops.saam.rescale.default
    y: Tensor = call(x, factor, token_x, token_a, adds)
    return y


def _direct() -> bool:
    """Whether autograd may call our functions itself, without the detour of torch.library that graphs and vmap need."""
    traced: bool = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    return torch.is_grad_enabled() and not traced


def _is_channels_last(x: Tensor) -> bool:
    # By hand, for vmap does not know x.is_contiguous(memory_format=torch.channels_last).
    batch, channels, height, width = x.shape
    steps = x.stride()
    return steps[1:] == (1, width * channels, channels) and (batch == 1 or steps[0] == channels * height * width)


def _laid_out_as(other: Tensor, x: Tensor) -> Tensor:
    return other.contiguous() if x.is_contiguous() else other.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _eager_squeeze(x: Tensor, scorer: Tensor | None, kind: int, scale: float) -> Tensor:
    """Compute the z of saam::squeeze in plain operations: (B, K, C)."""
    maps = x.to(accumulator(x.dtype)).flatten(2)
    if scorer is None:
        results = []
        if kind & MEAN:
            results.append(maps.mean(2))
        if kind & VARIANCE:
            results.append(maps.var(2, correction=0))
        if kind & MAX:
            results.append(maps.amax(2))
        return torch.stack(results, 1)
    logits = scorer @ maps if kind == PIXEL else scorer[:, None] * maps if kind == CHANNEL else scorer.flatten(2)
    weights = (logits * scale).softmax(-1)
    batch, channels, pixels = maps.shape
    grouped = maps.reshape(batch, weights.shape[1], -1, pixels)
    return (grouped * weights.unsqueeze(2)).sum(3).reshape(batch, 1, channels)


# ---- Shapes ----------------------------------------------------------------------------------------------------------


def _fake_squeeze(
    x: Tensor, scorer: Tensor | None, kind: int, scale: float, joint: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch, channels = x.shape[:2]
    dtype = accumulator(x.dtype)

    def token(shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return torch.empty_strided(shape, [0] * len(shape), dtype=dtype, device=x.device) if joint else nothing()

    def nothing() -> Tensor:
        return x.new_empty(0, dtype=dtype)

    if scorer is None:
        z = x.new_empty(batch, kind.bit_count(), channels, dtype=dtype)
        saved = x.new_empty(batch if kind & MAX else 0, channels, dtype=dtype)
    else:
        heads = channels if kind == CHANNEL else scorer.shape[0] if kind == PIXEL else scorer.shape[1]
        z = x.new_empty(batch, 1, channels, dtype=dtype)
        saved = x.new_empty(2, batch, heads, dtype=dtype)
    return z, saved, token(x.shape, x.dtype), token(x.shape[:2], dtype)


def _fake_squeeze_backward(
    x: Tensor,
    scorer: Tensor | None,
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
    return dx, z.new_empty(0) if scorer is None else torch.empty_like(scorer)


def _fake_rescale(x: Tensor, factor: Tensor, token_x: Tensor | None, token_a: Tensor | None, adds: bool) -> Tensor:
    return torch.empty_like(x)


def _fake_rescale_backward(dy: Tensor, x: Tensor, adds: bool) -> Tensor:
    return x.new_empty(x.shape[:2], dtype=accumulator(x.dtype))


# ---- Autograd --------------------------------------------------------------------------------------------------------


def _keep_squeeze(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    x, scorer, ctx.kind, ctx.scale, joint = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*(output[1:2] if joint else output[1:]))
    ctx.save_for_backward(x, scorer, *output[:2])


def _squeeze_backward(ctx: Any, dz: Tensor | None, _: None, dy: Tensor | None, factor: Tensor | None) -> Any:
    x, scorer, z, saved = ctx.saved_tensors
    need_dx, need_dscorer, *_rest = ctx.needs_input_grad
    dz = torch.zeros_like(z) if dz is None else dz.contiguous()
    if torch.is_grad_enabled():
        dx, dscorer = _squeeze_backward_again(x, scorer, dz, ctx)
        if dx is not None and dy is not None and factor is not None:
            dx = dx + dy * as_map(factor, dy)
    else:
        dy = None if dy is None else _laid_out_as(dy, x)
        factor = None if factor is None else factor.contiguous()
        dx, dscorer = torch.ops.saam.squeeze_backward.default(
            x, scorer, z, saved, dz, dy, factor, ctx.kind, ctx.scale, need_dx
        )
    return dx if need_dx else None, dscorer if need_dscorer else None, None, None, None


def _squeeze_backward_again(
    x: Tensor, scorer: Tensor | None, dz: Tensor, ctx: Any
) -> tuple[Tensor | None, Tensor | None]:
    """Compute the gradients by operations that have gradients of their own."""
    need_dx, need_dscorer, *_ = ctx.needs_input_grad
    wanted = [t for t, need in ((x, need_dx), (scorer, need_dscorer)) if need and t is not None]
    z = _eager_squeeze(x, scorer, ctx.kind, ctx.scale)
    results = list(torch.autograd.grad(z, wanted, dz, create_graph=True))
    return results.pop(0) if need_dx else None, results.pop(0) if need_dscorer else None


def _keep_rescale(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, factor, token_x, _, ctx.adds = inputs
    ctx.joint = token_x is not None
    ctx.save_for_backward(x, factor)


def _rescale_backward(ctx: Any, dy: Tensor) -> Any:
    x, factor = ctx.saved_tensors
    slope = torch.ones_like(factor) if ctx.adds else factor
    if torch.is_grad_enabled():
        dfactor = value_gradient(dy, x, adds=ctx.adds)
    else:
        dy = _laid_out_as(dy, x)
        dfactor = torch.ops.saam.rescale_backward.default(dy, x, ctx.adds)
    if ctx.joint:
        return None, dfactor, dy, slope, None
    return dy * as_map(slope, dy), dfactor, None, None, None


def _node(operation: Any, keep: Callable[..., None], backward: Callable[..., Any]) -> type[torch.autograd.Function]:
    """Make the autograd function of an operation from what is registered for it below.

    Called by itself it spares a step the detour of torch.library, a tenth of a millisecond.
    """

    def forward(ctx: Any, *inputs: Any) -> Any:
        with torch._C._AutoDispatchBelowAutograd():
            output = operation(*inputs)
        keep(ctx, inputs, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Node", (torch.autograd.Function,), members)


# ---- Registration ----------------------------------------------------------------------------------------------------


def _each_in_turn(operation: Any) -> Callable[..., Any]:
    """Make the vmap rule that calls the operation once for each member."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        def member(i: int) -> list[Any]:
            chosen = [a if d is None else a.select(d, i) for a, d in zip(args, in_dims, strict=True)]
            return [(dense(a) if a.ndim == 4 else a.contiguous()) if isinstance(a, Tensor) else a for a in chosen]

        results = [operation(*member(i)) for i in range(info.batch_size)]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(torch.stack(parts) for parts in zip(*results, strict=True)), (0,) * len(results[0])

    return rule


def _register() -> None:
    fakes: tuple[Callable[..., Any], ...] = (
        _fake_squeeze,
        _fake_squeeze_backward,
        _fake_rescale,
        _fake_rescale_backward,
    )
    for (name, schema), fake in zip(_SCHEMAS.items(), fakes, strict=True):
        torch.library.define(f"saam::{name}", schema, tags=(torch.Tag.pt2_compliant_tag,))
        torch.library.register_fake(f"saam::{name}", fake)
        torch.library.register_vmap(f"saam::{name}", _each_in_turn(getattr(torch.ops.saam, name)))
    torch.library.register_autograd("saam::squeeze", _squeeze_backward, setup_context=_keep_squeeze)
    torch.library.register_autograd("saam::rescale", _rescale_backward, setup_context=_keep_rescale)


def _load() -> str | None:
    """Load the compiled operations; return why they are missing, or None."""
    build = "from the repository: pip install --no-build-isolation ./native"
    try:
        import saam_native
    except ImportError:
        return f"saam-native is not installed; {build}"
    if getattr(saam_native, "interface", None) != _INTERFACE:
        return f"saam-native is of another version than saam; build it anew, {build}"
    try:
        torch.ops.load_library(saam_native.library)  # type: ignore[no-untyped-call]
    except OSError as error:
        return f"saam-native does not load ({error}); build it anew, {build}"
    return None


_register()
_Squeeze = _node(torch.ops.saam.squeeze.default, _keep_squeeze, _squeeze_backward)
_Rescale = _node(torch.ops.saam.rescale.default, _keep_rescale, _rescale_backward)
missing: str | None = _load()
"""Why there is no CPU implementation, or None."""
