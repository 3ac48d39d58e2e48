"""What saam needs of torch's private parts: all of it stands here."""

from contextlib import AbstractContextManager

import torch
from torch.autograd import forward_ad

__all__ = ["below_autograd", "transform"]


def transform() -> str | None:
    """Name what looks into every operation that runs now, or return None: there the fused operations have no part.

    ``_is_exporting_flag`` is what ``torch.compiler.is_exporting()`` returns; torch.compile of torch 2.10 takes the
    call itself for true. ``_are_functorch_transforms_active`` is true under torch.vmap, the transforms of torch.func
    and batched gradients, and torch.compile can trace it. ``_current_level`` is -1 outside ``forward_ad.dual_level()``.
    """
    if torch.compiler._is_exporting_flag:
        return "torch.export"
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return "torch.jit.trace"
    if torch._C._are_functorch_transforms_active():
        return "a transform of torch.func, such as vmap"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation"
    return None


def below_autograd() -> AbstractContextManager[None]:
    """Return a context in which operations go past autograd, which torch.library uses too and does not show."""
    guard: AbstractContextManager[None] = torch._C._AutoDispatchBelowAutograd()
    return guard
