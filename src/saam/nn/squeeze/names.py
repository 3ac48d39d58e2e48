"""Squeezes by name."""

from collections.abc import Callable

import torch
from torch import nn

from saam._core.devices import Device
from saam._core.errors import unknown
from saam.nn.score_pool import MeanScore, ScorePool2d
from saam.nn.squeeze._size import MapSize
from saam.nn.squeeze.covariance import Covariance
from saam.nn.squeeze.dct import DCT
from saam.nn.squeeze.depthwise import DepthwiseConv
from saam.nn.squeeze.plain import L2, GeM, LogSumExp, Max, Mean, MeanMax, MeanStd, SoftPool

__all__ = ["Squeeze", "create_squeeze", "list_squeezes"]

Squeeze = str | nn.Module | Callable[[int], nn.Module]
"""The argument ``squeeze``: a name, a module, or a function of the number of channels."""

_WITHOUT_PARAMETERS: dict[str, Callable[[], nn.Module]] = {
    "mean": Mean,
    "max": Max,
    "mean+max": MeanMax,
    "mean+std": MeanStd,
    "l2": L2,
    "log-sum-exp": LogSumExp,
    "softpool": SoftPool,
}
_OTHERS = ("gem", "dct", "depthwise-conv", "covariance", "score", "mean+score")


def list_squeezes() -> list[str]:
    """Return the names that ``squeeze=`` takes."""
    return [*_WITHOUT_PARAMETERS, *_OTHERS]


def create_squeeze(
    squeeze: Squeeze,
    channels: int,
    *,
    size: MapSize | None = None,
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> nn.Module:
    """Return a squeeze by name, or build it from the given module or function.

    Args:
        squeeze: A name (:func:`list_squeezes`), a module, or a function of the number of channels, such as
            ``functools.partial(ScorePool2d, heads=4)``.
        channels: C.
        size: (H, W) of the map, or one number for both. "depthwise-conv" requires it, "dct" uses it, others ignore it.
        device, dtype: Device and dtype of the parameters of a squeeze given by name.

    Raises:
        ValueError: If no squeeze has this name, "depthwise-conv" has no size, or the squeeze does not support this
            number of channels.
    """
    if isinstance(squeeze, nn.Module):
        return squeeze
    if not isinstance(squeeze, str):
        return squeeze(channels)
    if squeeze in _WITHOUT_PARAMETERS:
        return _WITHOUT_PARAMETERS[squeeze]()
    match squeeze:
        case "gem":
            return GeM(device=device, dtype=dtype)
        case "dct":
            return DCT(channels, size=size, device=device)
        case "depthwise-conv":
            if size is None:
                raise ValueError(
                    "a depthwise-conv squeeze has a weight for every pixel, so it must know the map's size: give "
                    "size=(height, width), or squeeze=functools.partial(DepthwiseConv, size=(height, width)) to a "
                    "module that has no such option"
                )
            return DepthwiseConv(channels, size=size, device=device, dtype=dtype)
        case "covariance":
            return Covariance(channels, device=device, dtype=dtype)
        case "score":
            return ScorePool2d(channels, device=device, dtype=dtype)
        case "mean+score":
            return MeanScore(channels, device=device, dtype=dtype)
    raise unknown("squeeze", squeeze, list_squeezes())
