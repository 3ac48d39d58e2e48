"""Squeezes: what becomes of a channel's pixels. (B, C, H, W) -> (B, C), or (B, K, C) for K statistics.

A squeeze says by its attribute ``statistics`` how many it gives, so that an excitation can be built for it.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from saam._errors import unknown
from saam.functional import channel_max, channel_mean, channel_std
from saam.nn.score_pool import ScorePool2d

__all__ = ["Max", "Mean", "MeanMax", "MeanStd", "Squeeze", "create_squeeze", "list_squeezes"]


class Mean(nn.Module):
    """The mean over the pixels (SE): (B, C, H, W) -> (B, C)."""

    statistics = 1

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return channel_mean(x)


class Max(nn.Module):
    """The maximum over the pixels: (B, C, H, W) -> (B, C)."""

    statistics = 1

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return channel_max(x)


class MeanMax(nn.Module):
    """Mean and maximum (CBAM): (B, C, H, W) -> (B, 2, C)."""

    statistics = 2

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return torch.stack((channel_mean(x), channel_max(x)), 1)


class MeanStd(nn.Module):
    """Mean and standard deviation (SRM): (B, C, H, W) -> (B, 2, C)."""

    statistics = 2

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return torch.stack((channel_mean(x), channel_std(x)), 1)


Squeeze = str | nn.Module | Callable[[int], nn.Module]
"""What a preset takes as ``squeeze``: a name, a ready module, or a function of the number of channels."""

_SQUEEZES: dict[str, Callable[..., nn.Module]] = {
    "mean": lambda channels, **_: Mean(),
    "max": lambda channels, **_: Max(),
    "mean+max": lambda channels, **_: MeanMax(),
    "mean+std": lambda channels, **_: MeanStd(),
    "score": ScorePool2d,
}


def list_squeezes() -> list[str]:
    """Return the names that ``squeeze=`` takes."""
    return list(_SQUEEZES)


def create_squeeze(
    squeeze: Squeeze,
    channels: int,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Return the squeeze that was asked for.

    Args:
        squeeze: a name (:func:`list_squeezes`), a ready module, or a function of the number of channels, such as
            ``functools.partial(ScorePool2d, heads=4)``.
        channels: C.
        device, dtype: of the parameters of a squeeze given by name.

    Raises:
        ValueError: no squeeze has this name.
    """
    if isinstance(squeeze, nn.Module):
        return squeeze
    if not isinstance(squeeze, str):
        return squeeze(channels)
    if squeeze not in _SQUEEZES:
        raise unknown("squeeze", squeeze, _SQUEEZES)
    return _SQUEEZES[squeeze](channels, device=device, dtype=dtype)
