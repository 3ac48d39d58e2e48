"""Checks shared by the modules."""

from numbers import Integral
from typing import Any

from torch import Tensor

from saam.functional._check import require_map

__all__ = ["is_whole", "require_channels"]


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number, such as an int or a NumPy integer, and not a bool."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def require_channels(channels: int, x: Tensor | None = None) -> None:
    """Raise an error unless ``channels`` is a positive whole number and ``x``, if given, has this many channels."""
    if not is_whole(channels) or channels < 1:
        raise ValueError(f"channels must be a whole number above 0, got {channels!r}")
    if x is not None:
        require_map(x)
        if x.shape[1] != channels:
            raise ValueError(
                f"this module was built for {channels} channels, got an input of shape {tuple(x.shape)} (B, C, H, W); "
                f"build it with channels={x.shape[1]}"
            )
