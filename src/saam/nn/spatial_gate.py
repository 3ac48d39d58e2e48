"""CBAM's spatial gate: a factor for every pixel, from the maximum and the mean of its channels.

    gate = sigmoid(norm(conv([max over an axis, mean over that axis])))

In CBAM the axis is the channels. Triplet Attention also uses height and width.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam.functional._check import accumulator, require_map, without_autocast

__all__ = ["SpatialGate"]


class SpatialGate(nn.Module):
    """Compute a factor that is shared along one axis, from the maximum and the mean along that axis.

    The two are convolved without bias, normalized (momentum .01) and passed through a sigmoid. They are computed in the
    dtype of the parameters, also under autocast, because the convolution overflows in float16. Elements that tie for
    the maximum share its gradient.

    Args:
        kernel_size: Kernel size of the convolution, odd.
        axis: The axis of (B, C, H, W) along which the factor is shared: 1 as in CBAM; 2 or 3 for a map permuted so that
            height or width replaces the channels. The convolution runs over (H, W), (C, W) or (H, C), respectively.
        device, dtype: Device and dtype of the parameters.

    Shape:
        (B, C, H, W) -> the same with size 1 on ``axis``, in the dtype of the input.

    Raises:
        ValueError: If the kernel size is even, or the axis is not 1, 2 or 3.
    """

    def __init__(
        self,
        kernel_size: int = 7,
        *,
        axis: Literal[1, 2, 3] = 1,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that the gate keeps the map's size, got {kernel_size}")
        if axis not in (1, 2, 3):
            raise ValueError(f"axis must be 1 (channels), 2 (height) or 3 (width), got {axis!r}")
        self.axis = axis
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False, device=device, dtype=dtype)
        self.norm = nn.BatchNorm2d(1, momentum=0.01, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return the factor for ``x``."""
        require_map(x)
        mean = x.mean(self.axis, dtype=accumulator(x.dtype))
        pooled = torch.stack((x.amax(self.axis).to(mean.dtype), mean), 1).to(self.conv.weight.dtype)
        if self.axis == 3:
            pooled = pooled.transpose(2, 3)
        with without_autocast(x):
            gate = self.norm(self.conv(pooled)).sigmoid()[:, 0]
        if self.axis == 3:
            gate = gate.transpose(1, 2)
        return gate.unsqueeze(self.axis).to(x.dtype)

    def extra_repr(self) -> str:
        """Name what sets this gate apart."""
        return f"axis={self.axis}"
