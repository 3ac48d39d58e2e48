"""Score-based pooling as a module: the parameters of the scorer, and the aggregation by its scores."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam._core.fx import leaf
from saam._core.options import given
from saam.functional import channel_mean, score_aggregate, score_weights
from saam.functional._check import accumulator, require_map
from saam.functional.backend import choose
from saam.functional.fused import CHANNEL, PIXEL, SCORES, Pooling, pool
from saam.functional.scores import convolve
from saam.nn._check import is_whole, require_channels

__all__ = ["MeanScore", "ScorePool", "ScorePool2d", "Scorer"]

_Named = Literal["pixel", "channel"]
Scorer = _Named | nn.Module | Callable[[int], nn.Module]
"""A name, a module (B, C, H, W) -> scores (B, G, H, W), or a function of the channels that builds one."""


class ScorePool2d(nn.Module):
    """Pool a feature map to one number per channel, with learned weights that depend on the input.

    The scorer is a convolution without norm or activation. "pixel" maps all C channels to G score maps; "channel" lets
    each channel score its own pixels (depthwise, G = C). The scorer starts at zero, where the pooling is exactly the
    mean and the scorer gets gradients. It is our reconstruction of Lee & Chung, TIME-E 2019; see
    :func:`saam.score_aggregate`.

    Args:
        channels: C.
        heads: G, the number of score maps of a "pixel" scorer; divides C; 1 by default.
        scorer: "pixel", "channel", or your own scorer: a module (B, C, H, W) -> (B, G, H, W), where G divides C, or a
            function of the channels that builds one. Its initial weights are kept; if its last layer starts at zero,
            the pooling starts as the mean. In a :class:`ScorePool` its input is (B, C, N, 1), with all N positions in a
            row.
        kernel_size: Kernel size of the scorer's convolution, odd; 1 by default.
        temperature: Divides the scores; above 0. "sqrt" is the square root of the convolution's fan-in, as in scaled
            dot-product attention: ``sqrt(C) * kernel_size`` for "pixel", ``kernel_size`` for "channel". Under plain SGD
            from zero, a temperature T changes the scores like a learning rate multiplied by 1 / T^2.
        keepdim: Return (B, C, 1, 1), like ``nn.AdaptiveAvgPool2d(1)``, instead of (B, C).
        bias: Whether the convolution has a bias. The softmax cancels it; it exists for the weights of modules that have
            one.
        device, dtype: Device and dtype of the parameters.

    Shape:
        (B, C, H, W) -> (B, C), or (B, C, 1, 1) with ``keepdim``.

    Raises:
        ValueError: If the heads do not divide the channels, the kernel size is even, the scorer is unknown, the
            temperature is not above 0, or an option of the convolution is combined with your own scorer.
        TypeError: If the scorer is not a name, a module or a function that builds one, or heads or kernel size is not a
            whole number.

    Example:
        >>> pool = ScorePool2d(64, heads=4)
        >>> x = torch.randn(2, 64, 7, 9)
        >>> torch.allclose(pool(x), x.mean((2, 3)), atol=1e-6)  # at the start
        True
        >>> pool.score_map(x).shape
        torch.Size([2, 4, 7, 9])
    """

    def __init__(
        self,
        channels: int,
        *,
        heads: int | None = None,
        scorer: Scorer = "pixel",
        kernel_size: int | None = None,
        temperature: float | Literal["sqrt"] = 1.0,
        keepdim: bool = False,
        bias: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        require_channels(channels)
        convolved = given(heads=heads, kernel_size=kernel_size)
        for name, value in convolved.items():
            if not is_whole(value):
                raise TypeError(f"{name} must be a whole number, got {value!r}")
        if not isinstance(scorer, str) and not callable(scorer):
            raise TypeError(
                f"scorer must be {', '.join(map(repr, get_args(_Named)))}, a module, or a function of the channels "
                f"that builds one, got {scorer!r}"
            )
        if isinstance(scorer, str):
            if scorer not in get_args(_Named):
                raise ValueError(f"scorer must be one of {', '.join(get_args(_Named))}, or a module, got {scorer!r}")
        elif convolved or bias or temperature == "sqrt":
            raise ValueError(
                "heads, kernel_size, bias and temperature='sqrt' belong to the scorers 'pixel' and 'channel'; leave "
                "them out with a scorer of your own"
            )
        if scorer == "channel":
            if heads not in (None, 1, channels):
                raise ValueError(f"a 'channel' scorer has one head per channel: leave heads out, got heads={heads}")
            heads = channels
        heads, kernel_size = (1 if value is None else int(value) for value in (heads, kernel_size))
        if heads < 1 or channels % heads:
            raise ValueError(f"heads must divide the channels, got heads={heads} for channels={channels}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, so that the scores keep the map's size, got {kernel_size}")
        fan_in = (1 if scorer == "channel" else channels) * kernel_size**2
        if temperature == "sqrt":
            temperature = fan_in**0.5
        if not isinstance(temperature, int | float) or not temperature > 0:
            raise ValueError(f"temperature must be above 0, or 'sqrt', got {temperature!r}")
        self.channels = int(channels)
        self.heads = heads
        self.scorer = scorer if isinstance(scorer, str | nn.Module) else scorer(channels)
        if not isinstance(self.scorer, str | nn.Module):
            raise TypeError(
                f"scorer={scorer!r} is called with the number of channels and must return a module (B, C, H, W) -> "
                f"(B, G, H, W), got {self.scorer!r}"
            )
        self.kernel_size = kernel_size
        self.temperature = self.built_temperature = float(temperature)
        self.keepdim = keepdim
        self.weight: nn.Parameter | None = None
        self.bias: nn.Parameter | None = None
        if isinstance(self.scorer, str):
            # Plain parameters instead of an nn.Conv2d, because networks re-initialise all their convolutions.
            shape = (heads, fan_in // kernel_size**2, kernel_size, kernel_size)
            self.weight = nn.Parameter(torch.zeros(shape, device=device, dtype=dtype))
            self.bias = nn.Parameter(torch.zeros(heads, device=device, dtype=dtype)) if bias else None
        else:
            self.scorer.to(device, dtype)

    def scores(self, x: Tensor) -> Tensor:
        """Return the scores before the softmax: (B, C, H, W) -> (B, G, H, W), in float32 or wider.

        Raises:
            ValueError: If ``x`` is not (B, C, H, W) with this pool's C.
        """
        require_channels(self.channels, x)
        if self.weight is None:
            return self._scores_of_ones_own(x)
        groups = self.channels if self.scorer == "channel" else 1
        return convolve(x, self.weight, self.bias, padding=self.kernel_size // 2, groups=groups)

    def _scores_of_ones_own(self, x: Tensor) -> Tensor:
        assert isinstance(self.scorer, nn.Module)
        scores: Any = self.scorer(x)
        batch, channels, *size = x.shape
        tensor = isinstance(scores, Tensor) and scores.ndim == 4
        fits = tensor and scores.shape[::2] == (batch, size[0]) and scores.shape[3] == size[1]
        if not fits or not scores.shape[1] or channels % scores.shape[1]:
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(
                f"the scorer {type(self.scorer).__name__} must give scores (B, G, H, W) = ({batch}, G, "
                f"{', '.join(map(str, size))}), where G divides the {channels} channels; it gave {got}"
            )
        return scores.to(accumulator(scores.dtype))

    def score_map(self, x: Tensor) -> Tensor:
        """Return the pooling weights: (B, C, H, W) -> (B, G, H, W) in float32 or wider; each map sums to one."""
        return score_weights(self.scores(x), temperature=self.temperature)

    def pooling(self, x: Tensor) -> Pooling:
        """Return what the fused operation needs of this pool."""
        own = "scores" in vars(self) or type(self).scores is not ScorePool2d.scores
        if own or self.weight is None or self.kernel_size > 1:
            return Pooling(SCORES, self.scores(x), temperature=self.temperature)
        require_channels(self.channels, x)
        weight = self.weight.flatten(1)
        if self.bias is not None:
            weight = weight + 0 * self.bias[:, None]  # no effect on the pooling; the bias gets a zero gradient
        if self.scorer == "channel":
            return Pooling(CHANNEL, weight.flatten(), temperature=self.temperature)
        return Pooling(PIXEL, weight, temperature=self.temperature)

    @leaf
    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x``."""
        require_map(x)
        if choose(None, x) == "fused":
            context = pool(x, self.pooling(x)).to(x.dtype)
        else:
            context = score_aggregate(x, self.scores(x), temperature=self.temperature)
        return context[:, :, None, None] if self.keepdim else context

    def no_weight_decay(self) -> set[str]:
        """Return the names of all parameters of the scorer: weight decay would pull the pooling back to the mean."""
        return {name for name, _ in self.named_parameters()}

    def extra_repr(self) -> str:
        """Name what sets this pool apart."""
        options = {"heads": self.heads, "scorer": self.scorer, "kernel_size": self.kernel_size}
        named = [f"{name}={value!r}" for name, value in options.items() if self.weight is not None]
        return ", ".join([str(self.channels), *named, f"temperature={self.temperature:.4g}"])


class ScorePool(nn.Module):
    """Pool all positions of sequences, volumes or tokens, as :class:`ScorePool2d` pools the pixels of a map.

    Args:
        channels: C.
        dim: Axis of the channels, 1 for (B, C, L) and (B, C, D, H, W), -1 for tokens (B, N, C).
        heads, scorer, temperature, device, dtype: As in :class:`ScorePool2d`.

    Shape:
        (B, C, positions...) or (B, positions..., C) -> (B, C).

    Raises:
        ValueError: If an option is out of range.

    Example:
        >>> ScorePool(192, dim=-1, heads=3)(torch.randn(2, 196, 192)).shape
        torch.Size([2, 192])
    """

    def __init__(
        self,
        channels: int,
        *,
        dim: int = 1,
        heads: int | None = None,
        scorer: Scorer | None = None,
        temperature: float | Literal["sqrt"] | None = None,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if dim not in (1, -1):
            raise ValueError(f"dim must be 1 for (B, C, positions...) or -1 for (B, positions..., C), got {dim!r}")
        self.dim = dim
        options = given(heads=heads, scorer=scorer, temperature=temperature)
        self.pool = ScorePool2d(channels, **options, device=device, dtype=dtype)

    @leaf
    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x``."""
        return self.pool(self._as_map(x))

    def score_map(self, x: Tensor) -> Tensor:
        """Return the pooling weights (B, G, positions...) in float32 or wider; the weights of a head sum to one."""
        weights = self.pool.score_map(self._as_map(x))
        return weights.reshape(*weights.shape[:2], *x.movedim(self.dim, 1).shape[2:])

    def _as_map(self, x: Tensor) -> Tensor:
        channels = self.pool.channels
        if x.ndim < 3 or x.shape[self.dim] != channels:
            positions = "(B, C, positions...)" if self.dim == 1 else "(B, positions..., C)"
            raise ValueError(f"expected {positions} with C = {channels} on axis {self.dim}, got {tuple(x.shape)}")
        return x.movedim(self.dim, 1).flatten(2).unsqueeze(-1)

    def extra_repr(self) -> str:
        """Name the axis of the channels."""
        return f"dim={self.dim}"


class MeanScore(nn.Module):
    """The mean and a score pool, as CBAM has mean and maximum: (B, C, H, W) -> (B, 2, C).

    Args:
        channels: C.
        options: Options of :class:`ScorePool2d`, such as ``heads``, ``device`` and ``dtype``.
    """

    statistics = 2

    def __init__(self, channels: int, **options: Any) -> None:
        super().__init__()
        self.pool = ScorePool2d(channels, **options)

    def forward(self, x: Tensor) -> Tensor:
        """Squeeze ``x``."""
        return torch.stack((channel_mean(x), self.pool(x)), 1)
