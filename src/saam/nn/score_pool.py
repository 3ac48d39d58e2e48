"""Score-based pooling as a module: the scorer's parameters, and the aggregation by its scores."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saam.functional import score_aggregate, score_weights
from saam.functional._check import accumulator, require_map, without_autocast
from saam.functional.backend import choose
from saam.functional.fused import Pooling, pool
from saam.functional.fused_ops import CHANNEL, PIXEL, SCORES
from saam.nn._check import require_channels

__all__ = ["ScorePool2d", "Scorer"]

Scorer = Literal["pixel", "channel"]


class ScorePool2d(nn.Module):
    """Pool a feature map to one number per channel, with weights that are learned and depend on the input.

    The scorer is a convolution without norm or activation: "pixel" maps all C channels to G score maps, "channel" lets
    each channel score its own pixels (depthwise, G = C). It starts at zero, where the pooling is exactly the mean;
    gradients reach it from there. The scorer is our reconstruction of Lee & Chung, TIME-E 2019; see
    :func:`saam.score_aggregate`.

    Args:
        channels: C.
        heads: G, the number of score maps of a "pixel" scorer; divides C.
        scorer: "pixel" or "channel".
        kernel_size: side of the scorer's convolution, odd.
        temperature: divides the scores. None takes the square root of the scorer's fan-in, as scaled dot-product
            attention does: ``sqrt(C) * kernel_size`` for "pixel", ``kernel_size`` for "channel".
        keepdim: give (B, C, 1, 1), as ``nn.AdaptiveAvgPool2d(1)`` does, instead of (B, C).
        bias: give the scorer a bias. The softmax cancels it; it exists to hold the weights of modules that have one.
        device, dtype: of the parameters.

    Shape:
        (B, C, H, W) -> (B, C), or (B, C, 1, 1) with ``keepdim``.

    Raises:
        ValueError: heads that do not divide the channels, an even kernel, an unknown scorer, a temperature not above 0.

    Example:
        >>> pool = ScorePool2d(64, heads=4)
        >>> x = torch.randn(2, 64, 7, 9)
        >>> torch.allclose(pool(x), x.mean((2, 3)), atol=1e-6)  # at the start
        True
        >>> pool.score_map(x).shape
        torch.Size([2, 4, 7, 9])
    """

    statistics = 1

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 1,
        scorer: Scorer = "pixel",
        kernel_size: int = 1,
        temperature: float | None = None,
        keepdim: bool = False,
        bias: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        require_channels(channels)
        if scorer not in get_args(Scorer):
            raise ValueError(f"scorer must be one of {', '.join(get_args(Scorer))}, got {scorer!r}")
        if scorer == "channel":
            if heads not in (1, channels):
                raise ValueError(f"a 'channel' scorer has one head per channel: leave heads out, got heads={heads}")
            heads = channels
        if heads < 1 or channels % heads:
            raise ValueError(f"heads must divide the channels, got heads={heads} for channels={channels}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that the scores keep the map's size, got {kernel_size}")
        fan_in = (channels if scorer == "pixel" else 1) * kernel_size**2
        if temperature is None:
            temperature = fan_in**0.5
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.channels = channels
        self.heads = heads
        self.scorer = scorer
        self.kernel_size = kernel_size
        self.temperature = float(temperature)
        self.keepdim = keepdim
        # Plain parameters, not an nn.Conv2d: networks re-initialise every convolution that they find.
        shape = (heads, fan_in // kernel_size**2, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(heads, device=device, dtype=dtype)) if bias else None

    def scores(self, x: Tensor) -> Tensor:
        """Return the scores before the softmax: (B, C, H, W) -> (B, G, H, W), in float32 or wider.

        Raises:
            ValueError: ``x`` is not (B, C, H, W) with this pool's C.
        """
        require_channels(self.channels, x)
        # In float32 also under autocast: in float16 a sum over many channels overflows.
        dtype = accumulator(x.dtype)
        bias = None if self.bias is None else self.bias.to(dtype)
        groups = self.channels if self.scorer == "channel" else 1
        with without_autocast(x):
            return F.conv2d(x.to(dtype), self.weight.to(dtype), bias, padding=self.kernel_size // 2, groups=groups)

    def score_map(self, x: Tensor) -> Tensor:
        """Return the pooling weights: (B, C, H, W) -> (B, G, H, W) in float32 or wider; each map sums to one."""
        return score_weights(self.scores(x), temperature=self.temperature)

    def pooling(self, x: Tensor) -> Pooling:
        """Return what the fused operation needs of this pool."""
        if self.kernel_size > 1:
            return Pooling(SCORES, self.scores(x), temperature=self.temperature)
        require_channels(self.channels, x)
        weight = self.weight.flatten(1)
        if self.bias is not None:
            weight = weight + 0 * self.bias[:, None]  # no bearing on the pooling, and a gradient of zero
        if self.scorer == "channel":
            return Pooling(CHANNEL, weight.flatten(), temperature=self.temperature)
        return Pooling(PIXEL, weight, temperature=self.temperature)

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x``."""
        require_map(x)
        if choose("auto", x) == "fused":
            context = pool(x, self.pooling(x)).to(x.dtype)
        else:
            context = score_aggregate(x, self.scores(x), temperature=self.temperature)
        return context[:, :, None, None] if self.keepdim else context

    def extra_repr(self) -> str:
        """Name what sets this pool apart."""
        return (
            f"{self.channels}, heads={self.heads}, scorer={self.scorer!r}, kernel_size={self.kernel_size}, "
            f"temperature={self.temperature:.4g}"
        )
