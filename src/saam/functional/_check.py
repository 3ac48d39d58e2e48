"""Input checks and the precision of the operations on feature maps."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["accumulator", "require_map", "without_autocast"]


def require_map(x: Tensor, name: str = "x") -> None:
    """Raise an error unless ``x`` is a floating (B, C, H, W) tensor with at least one channel and one pixel."""
    if x.ndim != 4:
        raise ValueError(
            f"{name} must be a feature map of shape (B, C, H, W), got {tuple(x.shape)}; "
            "a single image needs a batch axis: x[None]"
        )
    if not x.is_floating_point():
        raise TypeError(f"{name} must have a floating dtype, got {x.dtype}; convert it with .float()")
    if x.shape[1] == 0 or x.shape[2] == 0 or x.shape[3] == 0:
        raise ValueError(f"{name} must have at least one channel and one pixel, got {tuple(x.shape)}")


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which sums over pixels are computed: float32 for half types, otherwise the dtype itself."""
    return torch.promote_types(dtype, torch.float32)


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which operations on tensors like ``x`` keep their dtype."""
    device = x.device.type
    # torch.amp.is_autocast_available would be simpler, but torch.compile of torch 2.10 cannot trace it.
    on = device != "meta" and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if on else nullcontext()
