"""The operations ``saam::squeeze`` and ``saam::rescale`` and their backwards: schemas, layouts, shapes, vmap."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saam.functional._check import accumulator

__all__ = [
    *("CHANNEL", "KINDS", "MAX", "MEAN", "PIXEL", "SCORES", "VARIANCE"),
    *("SCHEMAS", "dense", "is_channels_last", "laid_out_as"),
]

MEAN, VARIANCE, MAX = 1, 2, 4
"""Statistics: MEAN, MAX, MEAN | MAX and MEAN | VARIANCE (the biased one), in this order along the axis K."""
PIXEL, CHANNEL, SCORES = 8, 16, 32
"""Score pooling: by a weight (G, C) on the pixels, a weight (C,) of each channel on itself, or scores (B, G, H, W)."""
KINDS = (MEAN, MAX, MEAN | MAX, MEAN | VARIANCE, PIXEL, CHANNEL, SCORES)

SCHEMAS = {
    "squeeze": "(Tensor x, Tensor? scorer, int kind, float scale, bool joint)"
    " -> (Tensor z, Tensor saved, Tensor token_x, Tensor token_a)",
    "squeeze_backward": "(Tensor x, Tensor? scorer, Tensor z, Tensor saved, Tensor dz, Tensor? dy, Tensor? factor,"
    " int kind, float scale, bool need_dx) -> (Tensor dx, Tensor dscorer)",
    "rescale": "(Tensor x, Tensor factor, Tensor? token_x, Tensor? token_a, bool adds) -> Tensor",
    "rescale_backward": "(Tensor dy, Tensor x, bool adds) -> Tensor",
}


def dense(x: Tensor) -> Tensor:
    """Return ``x`` in one of the two supported layouts, contiguous or channels_last: its own, or the closer one."""
    if x.is_contiguous() or is_channels_last(x):
        return x
    beside = x.stride(1) == 1 and x.shape[1] > 1 and 0 not in x.stride()  # channels; a stride of 0 repeats a value
    return _channels_last(x) if beside else x.contiguous()


def is_channels_last(x: Tensor) -> bool:
    """Return whether ``x`` is dense in channels_last; the stride of an axis of length 1 may have any value.

    Under vmap ``is_contiguous`` supports no other memory formats.
    """
    _, channels, height, width = x.shape
    steps = (channels * height * width, 1, width * channels, channels)
    return all(size == 1 or step == wanted for size, step, wanted in zip(x.shape, x.stride(), steps, strict=True))


def laid_out_as(other: Tensor, x: Tensor) -> Tensor:
    """Return ``other`` in the layout of ``x``."""
    if not x.numel():  # which is contiguous whatever its strides are
        return torch.empty_like(x, dtype=other.dtype)
    return other.contiguous() if x.is_contiguous() else _channels_last(other)


def _channels_last(x: Tensor) -> Tensor:
    """Return ``x`` in channels_last, also under vmap."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


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


def _each_in_turn(operation: Any) -> Callable[..., Any]:
    """Create a vmap rule that calls the operation once per batch element."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        def member(i: int) -> list[Any]:
            chosen = [a if d is None else a.select(d, i) for a, d in zip(args, in_dims, strict=True)]
            return [(dense(a) if a.ndim == 4 else a.contiguous()) if isinstance(a, Tensor) else a for a in chosen]

        results = [operation(*member(i)) for i in range(info.batch_size)]
        if isinstance(results[0], Tensor):
            return torch.stack(results), 0
        return tuple(torch.stack(parts) for parts in zip(*results, strict=True)), (0,) * len(results[0])

    return rule


_FAKES: tuple[Callable[..., Any], ...] = (_fake_squeeze, _fake_squeeze_backward, _fake_rescale, _fake_rescale_backward)

for (name, schema), fake in zip(SCHEMAS.items(), _FAKES, strict=True):
    torch.library.define(f"saam::{name}", schema, tags=(torch.Tag.pt2_compliant_tag,))
    torch.library.register_fake(f"saam::{name}", fake)
    torch.library.register_vmap(f"saam::{name}", _each_in_turn(getattr(torch.ops.saam, name)))
