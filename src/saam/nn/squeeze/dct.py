"""The squeeze of FcaNet: one coefficient of the discrete cosine transform per channel.

    z[b, c] = sum over i, j of x[b, c, i, j] * cosine(u, i, H) * cosine(v, j, W)
    cosine(u, i, n) = cos(pi u (i + 1/2) / n) * sqrt(1/n), times sqrt(2) for u > 0

The channels are split into as many groups as there are frequencies, and each group has its own (u, v). The frequencies
are defined for a 7x7 map and multiplied by H // 7 and W // 7 for larger ones. Below 7 pixels all of them would be the
mean.
"""

import math
from typing import Any, Self

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam.functional._check import accumulator, without_autocast
from saam.nn._check import require_channels
from saam.nn.squeeze._size import MapSize, height_and_width

__all__ = ["DCT"]

_GRID = 7
# The frequencies (u, v) of a 7x7 grid, best first, by the ImageNet accuracy of a network with that frequency alone.
# fmt: off
_BEST = (
    (0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0), (5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3),
    (3, 5), (2, 2), (4, 6), (6, 3), (3, 3), (5, 3), (5, 5), (2, 1), (6, 1), (5, 2), (5, 4), (3, 2), (3, 1), (4, 1),
    (2, 3), (2, 0), (6, 5), (1, 3),
)
# fmt: on


class DCT(nn.Module):
    """A coefficient of the discrete cosine transform per channel (FcaNet): (B, C, H, W) -> (B, C), in float32 or wider.

    The first frequency, (0, 0), is the mean times the square root of the number of pixels.

    Args:
        channels: C, divisible by ``frequencies``.
        frequencies: How many of the best frequencies to use: 1 to 32; 16 in the paper ("top16").
        size: (H, W) of the transform, or one number for both, 7 or more. Maps of another size are averaged to it first;
            smaller maps are enlarged by repetition, as in adaptive average pooling. None uses the size of each map.
        device: Device of the frequencies.

    Raises:
        ValueError: If the frequencies do not divide the channels, the size is under 7, or an option is out of range.
    """

    pairs: Tensor

    def __init__(
        self,
        channels: int,
        *,
        frequencies: int = 16,
        size: MapSize | None = None,
        device: Device = None,
    ) -> None:
        super().__init__()
        require_channels(channels)
        if not 1 <= frequencies <= len(_BEST):
            raise ValueError(f"frequencies must be 1 to {len(_BEST)}, got {frequencies}")
        if channels % frequencies:
            divisors = [str(count) for count in range(1, len(_BEST) + 1) if channels % count == 0]
            raise ValueError(
                f"the frequencies must divide the channels, got {frequencies} for {channels} channels; "
                f"take frequencies={' or '.join(divisors)}"
            )
        self.channels = int(channels)
        self.frequencies = frequencies
        self.size = None if size is None else height_and_width(size)
        if self.size is not None and min(self.size) < _GRID:
            raise ValueError(f"size must be {_GRID} or more, where the frequencies still differ, got {size!r}")
        self.register_buffer("pairs", self._pairs(device), persistent=False)

    def _pairs(self, device: Device) -> Tensor:
        """Return (u, v) of each frequency: int64 (frequencies, 2)."""
        return torch.tensor(_BEST[: self.frequencies], device=device)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Convert the module; `to_empty` leaves no values in a buffer that no file holds, so it is made again."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.pairs = self._pairs(self.pairs.device)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``.

        Raises:
            ValueError: If ``x`` is not (B, C, H, W) with this squeeze's C, or is under 7 pixels high or wide and the
                squeeze has no size of its own.
        """
        require_channels(self.channels, x)
        if self.size is None and (x.shape[2] < _GRID or x.shape[3] < _GRID):
            raise ValueError(
                f"on maps under {_GRID} pixels all frequencies of the cosine transform are the mean, "
                f"got {x.shape[2]}x{x.shape[3]}; build it with size={_GRID}, which enlarges the map first, or use 'se'"
            )
        if self.pairs.is_meta and not x.is_meta:  # `load_state_dict(assign=True)` replaces only what a file holds
            self.pairs = self._pairs(x.device)
        wide = accumulator(x.dtype)
        rows = self._basis(0, x.shape[2], wide)
        columns = self._basis(1, x.shape[3], wide)
        groups = x.to(wide).reshape(x.shape[0], self.frequencies, x.shape[1] // self.frequencies, *x.shape[2:])
        with without_autocast(x):
            over_columns = (groups @ columns[:, None, :, None])[..., 0]
        return (over_columns * rows[:, None]).sum(3).flatten(1)

    def _basis(self, axis: int, length: int, dtype: torch.dtype) -> Tensor:
        """Return the cosines of all frequencies along one axis of a map: (frequencies, length)."""
        size = length if self.size is None else self.size[axis]
        frequency = self.pairs[:, axis, None] * (size // _GRID)
        place = torch.arange(size, device=frequency.device, dtype=dtype) + 0.5
        scale = torch.where(frequency > 0, 2.0, 1.0).to(dtype) / size
        basis = (frequency * place * (math.pi / size)).cos() * scale.sqrt()
        if self.size is None:
            return basis
        with without_autocast(basis):
            return basis @ _averages(size, length, basis.device, dtype)

    def extra_repr(self) -> str:
        """Name what sets this squeeze apart."""
        return f"{self.channels}, frequencies={self.frequencies}, size={self.size}"


def _averages(size: int, length: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the weights (size, length) with which adaptive average pooling resizes ``length`` pixels to ``size``."""
    target = torch.arange(size, device=device)[:, None]
    source = torch.arange(length, device=device)
    start = target * length // size
    end = ((target + 1) * length + size - 1) // size
    return ((source >= start) & (source < end)).to(dtype) / (end - start).to(dtype)
