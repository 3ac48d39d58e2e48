"""Which implementation computes an operation: eager PyTorch, or the fused one."""

from typing import Literal, get_args

from torch import Tensor

__all__ = ["Backend", "backends", "choose"]

Backend = Literal["auto", "eager", "fused"]


def backends() -> dict[str, str]:
    """Return each backend with ``"available"`` or the reason why it is not.

    Example:
        >>> backends()["eager"]
        'available'
    """
    return {"eager": "available", "fused": "no fused operation is built in this version"}


def choose(backend: Backend, x: Tensor) -> Literal["eager", "fused"]:
    """Return the backend that computes on ``x``.

    Raises:
        ValueError: no such backend.
        RuntimeError: "fused" was asked for and is not available.
    """
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")
    if backend == "fused":
        raise RuntimeError(f"backend 'fused' is not available: {backends()['fused']}; use 'auto' or 'eager'")
    return "eager"
