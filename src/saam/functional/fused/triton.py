"""The fused operations in Triton, for CUDA and ROCm. Importing this module registers them.

Every kernel works on blocks of channels times pixels and takes the memory strides as arguments. One kernel therefore
serves the contiguous and the channels_last layout, with blocks that are long in the contiguous direction. Sums are
computed in float32 or wider and always in the same order (there are no atomics). Indices have 64 bits.

    channels   a program pools some channels of an image, in two passes if the statistic needs them
    scores     a program pools a tile of pixels for one head, and the tiles are merged as in an online softmax (Milakov
               and Gimelshein 2018); backward, one kernel computes the weights p and ds, others dx and dw from them

The only allocations of the map's size are y and dx; p and ds have one row per head.
"""
# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators

from typing import Any

import torch
import triton
from torch import Tensor
from torch.library import triton_op, wrap_triton
from triton import language as tl

from saam.functional._check import accumulator
from saam.functional.fused import operations

__all__ = ["rescale", "rescale_backward", "squeeze", "squeeze_backward"]

_PROGRAMS = 1024
"""The largest number of programs that share the gradient of a weight."""

MEAN, VARIANCE, MAX, PIXEL, CHANNEL, SCORES = (
    tl.constexpr(getattr(operations, name)) for name in ("MEAN", "VARIANCE", "MAX", "PIXEL", "CHANNEL", "SCORES")
)

# ---- Parts of the kernels: B images of C channels and N pixels, in blocks of BC channels and BN pixels ---------------


@triton.jit
def _split(item, size):
    """Split an index: item = first * size + second."""
    return item // size, item % size


@triton.jit
def _span(start, size, LENGTH: tl.constexpr):
    """Return LENGTH indices starting at ``start``, and which of them are below ``size``."""
    index = start + tl.arange(0, LENGTH).to(tl.int64)
    return index, index < size


@triton.jit
def _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, wide: tl.constexpr):
    """Read a block of image ``b`` in the dtype of the sums, with zeros outside the map."""
    at = b * C * N + c[:, None] * step_c + n[None, :] * step_n
    return tl.load(x + at, mask=in_c[:, None] & in_n[None, :], other=0).to(wide)


@triton.jit
def _own_score(value, w, in_n):
    """Return value * w, -inf outside the map.

    The selection keeps compilers from fusing the product with the next operation, which would round the score
    differently from its maximum.
    """
    return tl.where(in_n[None, :], value * w, float("-inf"))


@triton.jit
def _exponential(score, highest):
    """Return exp(score - highest). If all weights are zero so far (-inf), the result is 0 and not NaN."""
    return tl.exp(score - tl.where(highest == float("-inf"), 0, highest))


@triton.jit
def _score(x, scorer, scale, b, g, n, in_n, C, G, N, step_c, step_n, KIND: tl.constexpr, BC: tl.constexpr):
    """Return the scores that head ``g`` gives to the pixels ``n``, -inf outside the map."""
    wide: tl.constexpr = scorer.dtype.element_ty
    if KIND == SCORES:
        score = tl.load(scorer + (b * G + g) * N + n, mask=in_n, other=0)
    else:
        parts = tl.zeros([BC, n.shape[0]], wide)
        for start in range(0, C, BC):
            c, in_c = _span(start, C, BC)
            w = tl.load(scorer + g * C + c, mask=in_c, other=0)
            parts += w[:, None] * _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
        score = tl.sum(parts, 0)
    return tl.where(in_n, score * tl.load(scale), float("-inf"))


# ---- Forward ---------------------------------------------------------------------------------------------------------


@triton.jit
def _pool_channels(
    x,
    weight,
    z,
    saved,
    B,
    C,
    N,
    step_c,
    step_n,
    KIND: tl.constexpr,
    K: tl.constexpr,
    BC: tl.constexpr,
    BN: tl.constexpr,
):
    """Write z (B, K, C) and what the backward needs, for statistics and for channels that score themselves."""
    wide: tl.constexpr = z.dtype.element_ty
    b, block = _split(tl.program_id(0).to(tl.int64), tl.cdiv(C, BC))
    c, in_c = _span(block * BC, C, BC)
    sums = tl.zeros([BC, BN], wide)
    tops = tl.full([BC, BN], float("-inf"), wide)
    ties = tl.zeros([BC, BN], wide)
    if KIND == CHANNEL:
        w = tl.load(weight + c, mask=in_c, other=0)[:, None]
    for start in range(0, N, BN):
        n, in_n = _span(start, N, BN)
        value = _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
        if MEAN & KIND:
            sums += value
        if KIND == CHANNEL:
            tops = tl.maximum(tops, _own_score(value, w, in_n))
        if MAX & KIND:
            higher = in_n[None, :] & ((value > tops) | (value != value))
            ties = tl.where(higher, 1, ties + (in_n[None, :] & (value == tops)).to(wide))
            tops = tl.where(higher, value, tops)
    first = b * K * C + c
    if MEAN & KIND:
        mean = tl.sum(sums, 1) / N
        tl.store(z + first, mean, mask=in_c)
    if MAX & KIND:
        top = tl.where(tl.sum((tops != tops).to(tl.int32), 1) > 0, float("nan"), tl.max(tops, 1))
        tl.store(z + (first + (K - 1) * C), top, mask=in_c)
        tl.store(saved + b * C + c, tl.sum(tl.where(tops == top[:, None], ties, 0), 1), mask=in_c)
    if VARIANCE & KIND:
        squares = tl.zeros([BC, BN], wide)
        for start in range(0, N, BN):
            n, in_n = _span(start, N, BN)
            value = _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
            centred = tl.where(in_n[None, :], value - mean[:, None], 0)
            squares += centred * centred
        tl.store(z + (first + C), tl.sum(squares, 1) / N, mask=in_c)
    if KIND == CHANNEL:
        top = tl.max(tops, 1)
        contexts = tl.zeros([BC, BN], wide)
        for start in range(0, N, BN):
            n, in_n = _span(start, N, BN)
            value = _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
            e = _exponential(_own_score(value, w, in_n), top[:, None])
            sums += e
            contexts += e * value
        total = tl.sum(sums, 1)
        tl.store(z + first, tl.sum(contexts, 1) / total, mask=in_c)
        tl.store(saved + b * C + c, top, mask=in_c)
        tl.store(saved + (B + b) * C + c, 1 / total, mask=in_c)


@triton.jit
def _pool_pixels(
    x,
    scorer,
    scale,
    best,
    total,
    context,
    C,
    G,
    N,
    step_c,
    step_n,
    KIND: tl.constexpr,
    BC: tl.constexpr,
    BN: tl.constexpr,
):
    """Write each tile's highest score and sum of exponentials (B, S, G), and its weighted sum (B, S, C)."""
    wide: tl.constexpr = scorer.dtype.element_ty
    item, g = _split(tl.program_id(0).to(tl.int64), G)
    b, tile = _split(item, tl.cdiv(N, BN))
    n, in_n = _span(tile * BN, N, BN)
    score = _score(x, scorer, scale, b, g, n, in_n, C, G, N, step_c, step_n, KIND, BC)
    top = tl.max(score, 0)
    e = _exponential(score, top)
    tl.store(best + item * G + g, top)
    tl.store(total + item * G + g, tl.sum(e, 0))
    end = (g + 1) * (C // G)
    for start in range(g * (C // G), end, BC):
        c, in_c = _span(start, end, BC)
        value = _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
        tl.store(context + item * C + c, tl.sum(e[None, :] * value, 1), mask=in_c)


@triton.jit
def _rescale(x, factor, y, C, N, step_c, step_n, ADDS: tl.constexpr, BC: tl.constexpr, BN: tl.constexpr):
    """Write x times, or plus, the factor (B, C)."""
    item, block = _split(tl.program_id(0).to(tl.int64), tl.cdiv(C, BC))
    b, tile = _split(item, tl.cdiv(N, BN))
    c, in_c = _span(block * BC, C, BC)
    n, in_n = _span(tile * BN, N, BN)
    value = _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, factor.dtype.element_ty)
    a = tl.load(factor + b * C + c, mask=in_c)[:, None]
    at = b * C * N + c[:, None] * step_c + n[None, :] * step_n
    tl.store(y + at, value + a if ADDS else value * a, mask=in_c[:, None] & in_n[None, :])


# ---- Backward --------------------------------------------------------------------------------------------------------


@triton.jit
def _weigh_pixels(
    x,
    scorer,
    scale,
    z,
    saved,
    dz,
    p,
    ds,
    B,
    C,
    G,
    N,
    step_c,
    step_n,
    KIND: tl.constexpr,
    BC: tl.constexpr,
    BN: tl.constexpr,
):
    """Write the weights p and the gradients of the scores ds = p (sum of dz (x - z)), both (B, G, N).

    The form x - z excludes a score from its own average: a pixel of weight one has exactly zero gradient.
    """
    wide: tl.constexpr = scorer.dtype.element_ty
    item, g = _split(tl.program_id(0).to(tl.int64), G)
    b, tile = _split(item, tl.cdiv(N, BN))
    n, in_n = _span(tile * BN, N, BN)
    score = _score(x, scorer, scale, b, g, n, in_n, C, G, N, step_c, step_n, KIND, BC)
    weight = tl.exp(score - tl.load(saved + b * G + g)) * tl.load(saved + (B + b) * G + g)
    parts = tl.zeros([BC, BN], wide)
    end = (g + 1) * (C // G)
    for start in range(g * (C // G), end, BC):
        c, in_c = _span(start, end, BC)
        value = _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
        centre = tl.load(z + b * C + c, mask=in_c, other=0)
        parts += tl.load(dz + b * C + c, mask=in_c, other=0)[:, None] * (value - centre[:, None])
    at = (b * G + g) * N + n
    tl.store(p + at, weight, mask=in_n)
    tl.store(ds + at, weight * tl.sum(parts, 0) * tl.load(scale), mask=in_n)


@triton.jit
def _write_gradient(
    x,
    scorer,
    z,
    saved,
    dz,
    dy,
    factor,
    p,
    ds,
    dx,
    dweight,
    B,
    C,
    G,
    N,
    step_c,
    step_n,
    KIND: tl.constexpr,
    K: tl.constexpr,
    JOINT: tl.constexpr,
    BC: tl.constexpr,
    BN: tl.constexpr,
):
    """Write dx = factor dy + dz times dz/dx. For CHANNEL, also write each tile's part of dweight: (B, S, C)."""
    wide: tl.constexpr = z.dtype.element_ty
    item, block = _split(tl.program_id(0).to(tl.int64), tl.cdiv(C, BC))
    b, tile = _split(item, tl.cdiv(N, BN))
    c, in_c = _span(block * BC, C, BC)
    n, in_n = _span(tile * BN, N, BN)
    valid = in_c[:, None] & in_n[None, :]
    channel = b * C + c
    first = b * K * C + c
    result = tl.zeros([BC, BN], wide)
    if JOINT:
        a = tl.load(factor + channel, mask=in_c, other=0)[:, None]
        result += a * _read(dy, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
    if (VARIANCE | MAX | CHANNEL) & KIND:
        value = _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
    if MEAN & KIND:
        result += (tl.load(dz + first, mask=in_c, other=0) / N)[:, None]
    if VARIANCE & KIND:
        slope = tl.load(dz + (first + C), mask=in_c, other=0) * 2 / N
        result += slope[:, None] * (value - tl.load(z + first, mask=in_c, other=0)[:, None])
    if MAX & KIND:
        last = first + (K - 1) * C
        share = tl.load(dz + last, mask=in_c, other=0) / tl.load(saved + channel, mask=in_c, other=1)
        result += tl.where(value == tl.load(z + last, mask=in_c, other=0)[:, None], share[:, None], 0)
    if KIND == CHANNEL:
        w = tl.load(scorer + c, mask=in_c, other=0)[:, None]
        best = tl.load(saved + channel, mask=in_c, other=0)[:, None]
        inverse = tl.load(saved + (B + b) * C + c, mask=in_c, other=0)[:, None]
        d = tl.exp(_own_score(value, w, in_n) - best) * inverse * tl.load(dz + channel, mask=in_c, other=0)[:, None]
        centred = value - tl.load(z + channel, mask=in_c, other=0)[:, None]
        result += d + w * d * centred
        tl.store(dweight + item * C + c, tl.sum(d * centred * centred, 1), mask=in_c)
    if (PIXEL | SCORES) & KIND:
        row = (b * G + c // (C // G))[:, None] * N + n[None, :]
        result += tl.load(dz + channel, mask=in_c, other=0)[:, None] * tl.load(p + row, mask=valid, other=0)
    if KIND == PIXEL:
        for g in range(G):
            w = tl.load(scorer + g * C + c, mask=in_c, other=0)
            result += w[:, None] * tl.load(ds + (b * G + g) * N + n, mask=in_n, other=0)[None, :]
    tl.store(dx + b * C * N + c[:, None] * step_c + n[None, :] * step_n, result, mask=valid)


@triton.jit
def _write_dweight(x, ds, dweight, B, C, G, N, step_c, step_n, share, BC: tl.constexpr, BN: tl.constexpr):
    """Write the sums of ds x over parts of ``share`` tiles: (parts, G, C)."""
    wide: tl.constexpr = ds.dtype.element_ty
    row, block = _split(tl.program_id(0).to(tl.int64), tl.cdiv(C, BC))
    part, g = _split(row, G)
    c, in_c = _span(block * BC, C, BC)
    tiles = tl.cdiv(N, BN)
    sums = tl.zeros([BC, BN], wide)
    for item in range(part * share, tl.minimum((part + 1) * share, B * tiles)):
        b, tile = _split(item, tiles)
        n, in_n = _span(tile * BN, N, BN)
        slope = tl.load(ds + (b * G + g) * N + n, mask=in_n, other=0)
        sums += slope[None, :] * _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
    tl.store(dweight + row * C + c, tl.sum(sums, 1), mask=in_c)


@triton.jit
def _sum(dy, x, result, C, N, step_c, step_n, TIMES_X: tl.constexpr, BC: tl.constexpr, BN: tl.constexpr):
    """Write the sum of dy x, or of dy, over the pixels: (B, C)."""
    wide: tl.constexpr = result.dtype.element_ty
    b, block = _split(tl.program_id(0).to(tl.int64), tl.cdiv(C, BC))
    c, in_c = _span(block * BC, C, BC)
    sums = tl.zeros([BC, BN], wide)
    for start in range(0, N, BN):
        n, in_n = _span(start, N, BN)
        value = _read(dy, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
        if TIMES_X:
            value *= _read(x, b, c, in_c, n, in_n, C, N, step_c, step_n, wide)
        sums += value
    tl.store(result + b * C + c, tl.sum(sums, 1), mask=in_c)


# ---- The operations --------------------------------------------------------------------------------------------------


def _layout(x: Tensor, dy: Tensor | None = None) -> tuple[tuple[int, int], dict[str, int]]:
    """Return the strides of channels and pixels, and the block sizes."""
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    planar = x.is_contiguous()
    for maps in (x, x if dy is None else dy):
        if not (maps.is_contiguous() if planar else operations.is_channels_last(maps)):
            raise ValueError(f"maps must be contiguous or channels_last, and alike, got strides {maps.stride()}")
    block_n = min(256 if planar else 64, triton.next_power_of_2(pixels))
    block_c = min(2048 // block_n if planar else 32, triton.next_power_of_2(channels))
    return (pixels, 1) if planar else (1, channels), {"BC": block_c, "BN": block_n}


def _implements(name: str) -> Any:
    """Register the function as ``saam::triton_{name}``, and that as the CUDA kernel of ``saam::{name}``."""

    def decorate(function: Any) -> Any:
        operation = triton_op(f"saam::triton_{name}", function, mutates_args=(), schema=operations.SCHEMAS[name])

        def on_its_device(x: Tensor, *rest: Any) -> Any:
            with torch.cuda.device_of(x):
                return operation(x, *rest)

        torch.library.impl(f"saam::{name}", "cuda", on_its_device)
        return operation

    return decorate


@_implements("squeeze")
def squeeze(
    x: Tensor, scorer: Tensor | None, kind: int, scale: float, joint: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return z (B, K, C), the tensors that the backward needs, and the two tokens for a joint operation."""
    (batch, channels), pixels, dtype = x.shape[:2], x.shape[2] * x.shape[3], accumulator(x.dtype)
    steps, blocks = _layout(x)
    if scorer is None or kind == operations.CHANNEL:
        count = kind.bit_count()
        z = x.new_empty(batch, count, channels, dtype=dtype)
        saved_shape = (batch if kind & operations.MAX else 0, channels) if scorer is None else (2, batch, channels)
        saved = x.new_empty(saved_shape, dtype=dtype)
        weight = None if scorer is None else scorer * scale
        grid = (batch * triton.cdiv(channels, blocks["BC"]),)
        wrap_triton(_pool_channels)[grid](
            x, weight, z, saved, batch, channels, pixels, *steps, KIND=kind, K=count, **blocks
        )
    else:
        heads = scorer.shape[0] if kind == operations.PIXEL else scorer.shape[1]
        tiles = triton.cdiv(pixels, blocks["BN"])
        best, total = x.new_empty(2, batch, tiles, heads, dtype=dtype)
        context = x.new_empty(batch, tiles, channels, dtype=dtype)
        rate = x.new_full((1,), scale, dtype=dtype)
        wrap_triton(_pool_pixels)[(batch * tiles * heads,)](
            x, scorer, rate, best, total, context, channels, heads, pixels, *steps, KIND=kind, **blocks
        )
        z, saved = _merge(best, total, context)

    def token(shape: torch.Size, dtype: torch.dtype) -> Tensor:
        return x.new_zeros(1, dtype=dtype).as_strided(shape, [0] * len(shape))

    if joint:
        return z, saved, token(x.shape, x.dtype), token(x.shape[:2], dtype)
    return z, saved, x.new_empty(0, dtype=dtype), x.new_empty(0, dtype=dtype)


def _merge(best: Tensor, total: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """Rescale the tiles to the highest score: (B, S, G), (B, S, G), (B, S, C) -> (B, 1, C), (2, B, G)."""
    highest = best.amax(1, keepdim=True)
    share = (best - highest.masked_fill(highest == -float("inf"), 0)).exp()
    whole = (total * share).sum(1)
    z = (context.unflatten(2, (best.shape[2], -1)) * share.unsqueeze(3)).sum(1) / whole.unsqueeze(2)
    return z.flatten(1).unsqueeze(1), torch.stack((highest[:, 0], 1 / whole))


@_implements("squeeze_backward")
def squeeze_backward(
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
    """Return dx and the gradient of the scorer. For a joint operation, ``dy`` and ``factor`` come from rescale."""
    (batch, channels), pixels = x.shape[:2], x.shape[2] * x.shape[3]
    steps, blocks = _layout(x, dy)
    parts, tiles = triton.cdiv(channels, blocks["BC"]), triton.cdiv(pixels, blocks["BN"])
    need_dx = need_dx or kind == operations.CHANNEL  # whose kernel finds both gradients
    dx = torch.empty_like(x) if need_dx else z.new_empty(0)
    heads, weight, p, ds, dweight = 1, scorer, None, None, None
    if scorer is None:
        dscorer = z.new_empty(0)
    elif kind == operations.CHANNEL:
        weight, dweight = scorer * scale, z.new_empty(batch * tiles, channels)
    else:
        heads = scorer.shape[0] if kind == operations.PIXEL else scorer.shape[1]
        p, ds = z.new_empty(batch, heads, pixels), z.new_empty(batch, heads, pixels)
        rate = z.new_full((1,), scale)
        wrap_triton(_weigh_pixels)[(batch * tiles * heads,)](
            x, scorer, rate, z, saved, dz, p, ds, batch, channels, heads, pixels, *steps, KIND=kind, **blocks
        )
        dscorer = ds.view(scorer.shape) if kind == operations.SCORES else _dweight(x, ds)
    if need_dx:
        wrap_triton(_write_gradient)[(batch * tiles * parts,)](
            *(x, weight, z, saved, dz, dy, factor, p, ds, dx, dweight, batch, channels, heads, pixels, *steps),
            KIND=kind,
            K=z.shape[1],
            JOINT=dy is not None,
            **blocks,
        )
    if dweight is not None:
        dscorer = dweight.sum(0) * scale
    return dx, dscorer


def _dweight(x: Tensor, ds: Tensor) -> Tensor:
    """Return the sum of ds x over images and pixels: (G, C)."""
    (batch, channels), (_, heads, pixels) = x.shape[:2], ds.shape
    steps, blocks = _layout(x)
    rows, items = heads * triton.cdiv(channels, blocks["BC"]), batch * triton.cdiv(pixels, blocks["BN"])
    share = max(1, triton.cdiv(items * rows, _PROGRAMS))
    parts = max(1, triton.cdiv(items, share))
    dweight = ds.new_empty(parts, heads, channels)
    wrap_triton(_write_dweight)[(parts * rows,)](
        x, ds, dweight, batch, channels, heads, pixels, *steps, share, **blocks
    )
    return dweight.sum(0)


@_implements("rescale")
def rescale(x: Tensor, factor: Tensor, token_x: Tensor | None, token_a: Tensor | None, adds: bool) -> Tensor:
    """Return x times, or plus, the factor. The tokens only connect this operation to its squeeze in autograd."""
    (batch, channels), pixels = x.shape[:2], x.shape[2] * x.shape[3]
    steps, blocks = _layout(x)
    y = torch.empty_like(x)
    grid = (batch * triton.cdiv(channels, blocks["BC"]) * triton.cdiv(pixels, blocks["BN"]),)
    wrap_triton(_rescale)[grid](x, factor, y, channels, pixels, *steps, ADDS=adds, **blocks)
    return y


@_implements("rescale_backward")
def rescale_backward(dy: Tensor, x: Tensor, adds: bool) -> Tensor:
    """Return the gradient of the factor (B, C): the sum of dy x over the pixels, or of dy."""
    (batch, channels), pixels = x.shape[:2], x.shape[2] * x.shape[3]
    steps, blocks = _layout(x, dy)
    result = x.new_empty(batch, channels, dtype=accumulator(x.dtype))
    grid = (batch * triton.cdiv(channels, blocks["BC"]),)
    wrap_triton(_sum)[grid](dy, x, result, channels, pixels, *steps, TIMES_X=not adds, **blocks)
    return result
