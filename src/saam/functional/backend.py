"""Which implementation computes an operation: eager PyTorch, or the fused one."""

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
    """The backend in force in this thread. torch.compile guards an attribute of the instance, and not a ContextVar."""

    def __init__(self) -> None:
        self.backend: Backend = "auto"


_THREAD = _Thread()


def backends() -> dict[str, str]:
    """Return each backend with ``"available"`` on the CPU or the reason why it is not.

    On CUDA "fused" needs Triton, and is taken only where it is asked for: see :func:`use_backend`.

    Example:
        >>> backends()["eager"]
        'available'
    """
    return {"eager": "available", "fused": cpu.missing or "available"}


@contextmanager
def use_backend(backend: Backend) -> Iterator[None]:
    """Let a backend compute what runs in a ``with`` block, or in a function that this decorates.

    "eager" is made of PyTorch's own operations, and is the definition. "fused" insists on the fused operations:
    :func:`saam.score_aggregate`, :class:`saam.ScorePool2d` and :class:`saam.ChannelAttention` take them or raise, and
    the error says why. What has no ``backend``, such as :func:`saam.rescale`, computes as ever. "auto", which holds
    outside of all blocks, takes "fused" on the CPU where it can and "eager" elsewhere: the Triton operations were never
    timed, and torch.compile fuses eager operations by itself.

    "fused" needs a map on the CPU, where saam-native is installed, or on CUDA, where Triton is, in float32, float64,
    bfloat16 or float16. It cannot compute under torch.export, torch.jit.trace, the transforms of torch.func such as
    vmap, and forward-mode differentiation.

    A block holds for the thread that enters it; an inner one wins, and a ``backend=`` that is passed to a function wins
    over all. torch.compile decides when it traces, and traces again where another backend is in force.

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
        backend: What the caller asks for; None for what :func:`use_backend` says.
        x: The feature map.
        obstacle: Why the caller has no use for the fused operation, if it knows a reason.

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
    """Return why there is no fused operation for a map such as ``x``, or None."""
    if x.device.type not in ("cpu", "cuda"):
        return f"it computes on cpu and cuda, got a map on {x.device.type}; move it with .to()"
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
    """Return what around the call keeps the fused operation from it, or None."""
    what = transform()
    return None if what is None else f"it takes plain calls, got one under {what}; call it outside"
