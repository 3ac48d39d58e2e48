"""Second-order squeeze: the covariances of the channels (GSoP)."""

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam.functional import channel_covariance
from saam.functional._check import without_autocast
from saam.nn._check import require_channels

__all__ = ["Covariance"]


class Covariance(nn.Module):
    """The covariance matrix of the channels: (B, C, H, W) -> (B, C, C), in float32 or wider.

    Each channel has K = C statistics. With ``reduced``, the map first goes through ReLU, a 1x1 convolution to d
    channels, batch norm and ReLU, as in GSoP. The matrix is then (B, d, d): statistics of d channels, which few
    excitations accept.

    Args:
        channels: C.
        reduced: The number d of channels; None takes the covariances of the map itself.
        device, dtype: Device and dtype of the parameters.

    Raises:
        ValueError: If ``reduced`` is below 1.
    """

    def __init__(
        self,
        channels: int,
        *,
        reduced: int | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        require_channels(channels)
        if reduced is not None and reduced < 1:
            raise ValueError(f"reduced must be 1 or more, got {reduced}")
        self.channels = int(channels)
        self.statistics = self.width = channels if reduced is None else reduced
        self.conv: nn.Conv2d | None = None
        self.norm: nn.BatchNorm2d | None = None
        if reduced is not None:
            self.conv = nn.Conv2d(channels, reduced, 1, device=device, dtype=dtype)
            self.norm = nn.BatchNorm2d(reduced, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``.

        Raises:
            ValueError: If ``x`` is not (B, C, H, W) with this squeeze's C.
        """
        require_channels(self.channels, x)
        if self.conv is not None and self.norm is not None:
            # In the dtype of the parameters, also under autocast: in float16 a sum over many channels overflows.
            with without_autocast(x):
                x = self.norm(self.conv(x.to(self.conv.weight.dtype).relu())).relu()
        return channel_covariance(x)

    def extra_repr(self) -> str:
        """Name what sets this squeeze apart."""
        return f"{self.channels}" + ("" if self.conv is None else f", reduced={self.width}")
