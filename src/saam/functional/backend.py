"""Select the implementation of an operation: eager PyTorch, or the fused one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor

from saam._core.errors import unknown
from saam.functional._torch import transform
from saam.functional.fused import cpu

__all__ = ["Backend", "backends", "choose", "use_backend"]

Backend = Literal["auto", "eager", "fused"]

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class _Thread(threading.local):
    """The active backend of this thread. torch.compile guards an attribute of the instance, but not a ContextVar."""

    def __init__(self) -> None:
        self.backend: Backend = "auto"


_THREAD = _Thread()


def backends() -> dict[str, str]:
    """Return for each backend ``"available"`` on the CPU, or the reason why it is not.

    On CUDA "fused" needs Triton and is used only on request, see :func:`use_backend`.

    Example:
        >>> backends()["eager"]
        'available'
    """
    return {"eager": "available", "fused": cpu.missing or "available"}


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Select the backend of a ``with`` block, or of a function that this decorates.

    "eager" uses PyTorch's own operations, which define the result. "fused" requires the fused operations:
    :func:`saam.score_aggregate`, :class:`saam.ScorePool2d` and :class:`saam.ChannelAttention` use them or raise an
    error with the reason. Functions without ``backend``, such as :func:`saam.rescale`, are not affected. "auto" is the
    default outside all blocks. It uses "fused" on the CPU if possible and "eager" elsewhere: the Triton operations were
    never timed, and torch.compile fuses eager operations by itself.

    "fused" needs a map in float32, float64, bfloat16 or float16, on the CPU with saam-native or on CUDA with Triton. It
    does not support torch.export, torch.jit.trace, the transforms of torch.func such as vmap, or forward-mode
    differentiation.

    A block applies to the thread that enters it. An inner block takes precedence over an outer one, and a ``backend=``
    argument over all blocks. A checkpointed module runs again in ``backward()``, which CUDA does in another thread. So
    give ``torch.utils.checkpoint`` the backend too: ``use_reentrant=False, context_fn=lambda: (use_backend("fused"),
    use_backend("fused"))``.
    torch.compile selects the backend when it traces, and traces again if the backend changes.

    Args:
        backend: "auto", "eager" or "fused".

    Raises:
        ValueError: If there is no such backend, when the block is entered.

    Example:
        >>> import saam
        >>> x, scores = torch.tensor([[[[1.0, 3.0]]]]), torch.zeros(1, 1, 1, 2)
        >>> with use_backend("eager"):
        ...     saam.score_aggregate(x, scores)
        tensor([[2.]])
    """
    before = _THREAD.backend
    _require_known(backend)
    _THREAD.backend = backend
    try:
        yield
    finally:
        _THREAD.backend = before


def choose(backend: Backend | None, x: Tensor, obstacle: str | None = None) -> Literal["eager", "fused"]:
    """Return the backend that computes on ``x``.

    Args:
        backend: The backend that the caller requests; None for that of :func:`use_backend`.
        x: The feature map.
        obstacle: Why the caller cannot use the fused operation, if there is a reason.

    Raises:
        ValueError: If there is no such backend.
        RuntimeError: If "fused" was requested and cannot run here.
    """
    backend = _THREAD.backend if backend is None else backend
    _require_known(backend)
    if backend == "eager" or (backend == "auto" and x.device.type != "cpu"):
        return "eager"
    obstacle = obstacle or _missing(x) or _under()
    if obstacle is None:
        return "fused"
    if backend == "fused":
        raise RuntimeError(f"backend 'fused' is not available: {obstacle}, or use 'auto' or 'eager'")
    return "eager"


def _require_known(backend: str) -> None:
    if backend not in get_args(Backend):
        raise unknown("backend", backend, get_args(Backend))


def _missing(x: Tensor) -> str | None:
    """Return why there is no fused operation for ``x``, or None."""
    if x.device.type not in ("cpu", "cuda"):
        return f"it computes on cpu and cuda, got a map on {x.device.type}; move it with .to()"
    if hasattr(x, "__tensor_flatten__"):
        return f"it takes plain tensors, got a map of type {type(x).__name__}"
    if x.dtype not in _DTYPES:
        return f"it takes {', '.join(map(str, _DTYPES))}, got a map of {x.dtype}; convert it with .to()"
    return cpu.missing if x.device.type == "cpu" else _load_triton()


def _load_triton() -> str | None:
    """Load the CUDA implementation; return why it is missing, or None."""
    try:
        from saam.functional.fused import triton  # noqa: F401
    except ImportError as error:
        return f"Triton does not import ({error}); install a CUDA or ROCm build of PyTorch on Linux, which has it"
    return None


def _under() -> str | None:
    """Return which transform around the call prevents the fused operation, or None."""
    what = transform()
    return None if what is None else f"it takes plain calls, got one under {what}; call it outside"
