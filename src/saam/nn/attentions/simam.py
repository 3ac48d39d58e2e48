"""SimAM (Yang et al., ICML 2021): a factor for every pixel of every channel, without parameters.

    y = x * sigmoid(d / (4 * (v + regularisation)) + 1/2),   d = (x - mean)^2,   v = sum of d / (N - 1)

The mean and the sum are over the N pixels of a channel. For a map of one pixel the official code divides zero by zero;
here the variance is 0 and the factor is sigmoid(1/2).
"""

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam._core.fx import leaf
from saam.functional._check import accumulator
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord

__all__ = ["RECORDS", "SimAM"]


class SimAM(nn.Module):
    """Weigh each pixel by its distance from the mean of its channel.

    The weights are computed in float32 or wider.

    Args:
        channels: C, checked against the input.
        regularisation: Added to the variance, above 0; the paper's lambda.
        device, dtype: Accepted as in every module, without effect because there are no parameters.

    Shape:
        (B, C, H, W) -> (B, C, H, W).

    Raises:
        ValueError: If the regularisation is not above 0.

    Example:
        >>> SimAM(1)(torch.ones(1, 1, 1, 1))  # one pixel: sigmoid(1/2)
        tensor([[[[0.6225]]]])
    """

    def __init__(
        self,
        channels: int,
        *,
        regularisation: float = 1e-4,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        require_channels(channels)
        if not regularisation > 0:
            raise ValueError(f"regularisation must be above 0, got {regularisation}")
        self.channels = int(channels)
        self.regularisation = regularisation

    @leaf
    def forward(self, x: Tensor) -> Tensor:
        """Attend to ``x``."""
        require_channels(self.channels, x)
        wide = x.to(accumulator(x.dtype))
        deviation = (wide - wide.mean((2, 3), keepdim=True)).square()
        others = x.shape[2] * x.shape[3] - 1
        variance = deviation.sum((2, 3), keepdim=True) / (others if others > 0 else 1)
        return x * (deviation / (4 * (variance + self.regularisation)) + 0.5).sigmoid().to(x.dtype)

    def extra_repr(self) -> str:
        """Name what sets this module apart."""
        return f"{self.channels}, regularisation={self.regularisation}"


RECORDS = (
    AttentionRecord(
        name="simam",
        build=SimAM,
        description="a factor per pixel and channel from its distance to the mean of the channel; no parameters",
        paper="Yang, Zhang, Li, Xie: SimAM: A Simple, Parameter-Free Attention Module, ICML 2021",
        source="ZjjConan/SimAM, networks/attentions/simam_module.py",
        placement="after the block's second convolution, before its norm",
        formula="0",
        weight_decay="no parameters",
        notes="The factor is between sigmoid(1/2) = .62 and 1. For a map of one pixel the authors' code divides zero "
        "by zero; here the variance is 0. The module keeps several maps for the backward pass.",
    ),
)
