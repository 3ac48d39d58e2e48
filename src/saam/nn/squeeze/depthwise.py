"""The squeeze of Gather-Excite with parameters: a weight for every pixel of every channel."""

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam.functional._check import accumulator
from saam.nn._check import require_channels
from saam.nn.squeeze._size import MapSize, height_and_width

__all__ = ["DepthwiseConv"]


class DepthwiseConv(nn.Module):
    """A depthwise convolution as large as the map, without bias (GE): (B, C, H, W) -> (B, C), in float32 or wider.

    Args:
        channels: C.
        size: (H, W) of the maps, or one number for both; other maps raise an error.
        device, dtype: Device and dtype of the parameters.

    Raises:
        ValueError: If a size is below 1.
    """

    def __init__(
        self,
        channels: int,
        *,
        size: MapSize,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        require_channels(channels)
        self.channels = int(channels)
        self.size = height_and_width(size)
        # A plain parameter instead of an nn.Conv2d, because networks re-initialise all their convolutions.
        self.weight = nn.Parameter(torch.empty(channels, 1, *self.size, device=device, dtype=dtype))
        nn.init.kaiming_normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``.

        Raises:
            ValueError: If ``x`` is not (B, C, H, W) with this squeeze's C, H and W.
        """
        require_channels(self.channels, x)
        if tuple(x.shape[2:]) != self.size:
            raise ValueError(
                f"this module was built for maps of {self.size[0]}x{self.size[1]}, got {x.shape[2]}x{x.shape[3]}; "
                f"build it with size=({x.shape[2]}, {x.shape[3]})"
            )
        wide = accumulator(x.dtype)
        return (x.to(wide) * self.weight[:, 0].to(wide)).sum((2, 3))

    def extra_repr(self) -> str:
        """Name what sets this squeeze apart."""
        return f"{self.channels}, size={self.size}"
