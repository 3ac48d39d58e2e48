"""Which implementation computes an operation: eager PyTorch, or the fused one."""

import os
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.autograd import forward_ad

from saam.functional import fused

__all__ = ["Backend", "backends", "choose"]

Backend = Literal["auto", "eager", "fused"]

_KNOWN = get_args(Backend)
_AUTO = os.environ.get("SAAM_BACKEND") or "auto"
"""What "auto" means in this process."""


def backends() -> dict[str, str]:
    """Return each backend with ``"available"`` on the CPU or the reason why it is not.

    On CUDA "fused" needs Triton, and is taken only where it is asked for: see :func:`choose`.

    Example:
        >>> backends()["eager"]
        'available'
    """
    return {"eager": "available", "fused": fused.unavailable(torch.empty(0)) or "available"}


def choose(backend: Backend, x: Tensor) -> Literal["eager", "fused"]:
    """Return the backend that computes on ``x``.

    On the CPU "auto" takes "fused" where it is available. Elsewhere it takes "eager": the Triton operations were never
    timed, and torch.compile fuses eager operations by itself. Ask for "fused" to have them on CUDA. Modules always say
    "auto"; for them the environment variable ``SAAM_BACKEND``, read when saam is imported, says what it means.

    Export, tracing, forward-mode derivatives and the transforms of torch.func always take eager, whose operations they
    all know.

    Raises:
        ValueError: no such backend.
        RuntimeError: "fused" was asked for and is not available.
    """
    if backend == "auto":
        backend = _AUTO  # type: ignore[assignment]
    if backend not in _KNOWN:
        raise ValueError(f"backend must be one of {', '.join(_KNOWN)}, got {backend!r}")
    if backend == "eager" or (backend == "auto" and x.device.type != "cpu"):
        return "eager"
    reason = fused.unavailable(x)
    if reason is not None and backend == "fused":
        raise RuntimeError(f"backend 'fused' is not available: {reason}; use 'auto' or 'eager'")
    if reason is not None or _needs_plain_operations():
        return "eager"
    return "fused"


def _needs_plain_operations() -> bool:
    tracing: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    transformed = torch._C._are_functorch_transforms_active()  # torch.vmap, torch.func; torch.compile knows this one
    return tracing or transformed or torch.compiler.is_exporting() or forward_ad._current_level >= 0
