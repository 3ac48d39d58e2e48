"""All uses of torch's private functions."""

from contextlib import AbstractContextManager

import torch
from torch.autograd import forward_ad
from torch.nn.modules import module

__all__ = ["below_autograd", "has_global_hooks", "plain_only", "transform"]


def transform() -> str | None:
    """Name the transform that intercepts the operations running now, or return None.

    Fused operations cannot run under a transform.

    ``_are_functorch_transforms_active`` is True under torch.vmap, the transforms of torch.func and batched gradients,
    and torch.compile can trace it.
    """
    if torch._C._are_functorch_transforms_active():
        return "a transform of torch.func, such as vmap"
    return plain_only()


def plain_only() -> str | None:
    """Name the transform running now that takes plain operations only, no autograd function of ours, or return None.

    ``_is_exporting_flag`` is what ``torch.compiler.is_exporting()`` returns; torch.compile of torch 2.10 evaluates the
    call itself to True. ``_current_level`` is -1 in a process that is outside ``forward_ad.dual_level()``.
    """
    if torch.compiler._is_exporting_flag:
        return "torch.export"
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return "torch.jit.trace"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation"
    return None


def below_autograd() -> AbstractContextManager[None]:
    """Return a context in which operations bypass autograd. torch.library uses it too but does not expose it."""
    guard: AbstractContextManager[None] = torch._C._AutoDispatchBelowAutograd()
    return guard


def has_global_hooks() -> bool:
    """Return whether there is a hook that observes the calls of all modules."""
    return bool(module._has_any_global_hook())  # type: ignore[no-untyped-call]
