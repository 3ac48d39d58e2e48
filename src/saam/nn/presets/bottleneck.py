"""Presets in which fully connected layers excite: se, ese, saam, cbam-channel, bam-channel, gc."""

from typing import Any, Literal

import torch
from torch import nn

from saam.nn._check import require_channels
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import BatchNormMLP, BottleneckMLP, ContextTransform, FullLinear, SharedMLP
from saam.nn.gate import Add, OnePlusSigmoid
from saam.nn.presets.width import reduced
from saam.nn.score_pool import ScorePool2d, Scorer
from saam.nn.squeeze import Squeeze, create_squeeze, statistics_of

__all__ = ["SAAM", "bam_channel", "cbam_channel", "ese", "gc", "se"]


def se(
    channels: int,
    *,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    bias: bool = True,
    squeeze: Squeeze = "mean",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Squeeze-and-Excitation: ``x * sigmoid(fc2(relu(fc1(mean(x)))))`` (Hu et al., arXiv:1709.01507)."""
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    statistics = statistics_of(pool, channels)
    mlp = BottleneckMLP(channels, hidden, statistics=statistics, bias=bias, device=device, dtype=dtype)
    return ChannelAttention(pool, mlp, nn.Sigmoid())


class SAAM(ChannelAttention):
    """Score-based Aggregated Attention Module: the excitation of ``se``, squeezed by learned scores.

    ``x * sigmoid(fc2(relu(fc1(context))))`` with ``context`` from :class:`saam.ScorePool2d`. The scorer starts at zero,
    so a new SAAM computes what an ``se`` with the same excitation does. After Lee & Chung, TIME-E 2019
    (doi 10.1109/TIME-E47986.2019.9353302), of which only the abstract is public: scorer, reduction and placement are
    our reconstruction.

    Args:
        channels: C.
        rd_ratio, rd_channels, rd_divisor: the bottleneck's width, as in timm; here C/16 by default.
        heads, scorer, kernel_size, temperature: of the scorer, see :class:`saam.ScorePool2d`.
        squeeze: "score", or another squeeze in its place.
        device, dtype: of the parameters.

    Shape:
        (B, C, H, W) -> (B, C, H, W).

    Raises:
        ValueError: heads that do not divide the channels, or another option out of its range.

    Example:
        >>> SAAM(64)(torch.randn(2, 64, 8, 8)).shape
        torch.Size([2, 64, 8, 8])
    """

    def __init__(
        self,
        channels: int,
        *,
        rd_ratio: float = 1 / 16,
        rd_channels: int | None = None,
        rd_divisor: int = 1,
        heads: int = 1,
        scorer: Scorer = "pixel",
        kernel_size: int = 1,
        temperature: float | Literal["sqrt"] = 1.0,
        squeeze: Squeeze = "score",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        scoring: dict[str, Any] = {
            "heads": heads,
            "scorer": scorer,
            "kernel_size": kernel_size,
            "temperature": temperature,
        }
        if squeeze == "score":
            squeeze = ScorePool2d(channels, **scoring, device=device, dtype=dtype)
        elif scoring != {"heads": 1, "scorer": "pixel", "kernel_size": 1, "temperature": 1.0}:
            raise ValueError(f"{', '.join(scoring)} belong to squeeze='score'; leave them out with squeeze={squeeze!r}")
        body = se(
            channels,
            rd_ratio=rd_ratio,
            rd_channels=rd_channels,
            rd_divisor=rd_divisor,
            squeeze=squeeze,
            device=device,
            dtype=dtype,
        )
        super().__init__(body.squeeze, body.excitation, body.gate)


def ese(
    channels: int,
    *,
    squeeze: Squeeze = "mean",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build effective Squeeze-and-Excitation: ``x * hardsigmoid(fc(mean(x)))`` (Lee & Park, arXiv:1911.06667)."""
    require_channels(channels)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    linear = FullLinear(channels, statistics=statistics_of(pool, channels), device=device, dtype=dtype)
    return ChannelAttention(pool, linear, nn.Hardsigmoid())


def cbam_channel(
    channels: int,
    *,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    squeeze: Squeeze = "mean+max",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build the channel part of CBAM: ``x * sigmoid(mlp(mean(x)) + mlp(max(x)))`` (Woo et al., arXiv:1807.06521)."""
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    statistics_of(pool, channels)
    return ChannelAttention(pool, SharedMLP(channels, hidden, device=device, dtype=dtype), nn.Sigmoid())


def bam_channel(
    channels: int,
    *,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    squeeze: Squeeze = "mean",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build BAM's channel branch: ``x * (1 + sigmoid(fc2(relu(norm(fc1(mean(x)))))))`` (Park et al., arXiv:1807.06514).

    The batch norm stands where the official code has it, on the bottleneck.
    """
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    statistics = statistics_of(pool, channels)
    mlp = BatchNormMLP(channels, hidden, statistics=statistics, device=device, dtype=dtype)
    return ChannelAttention(pool, mlp, OnePlusSigmoid())


def gc(
    channels: int,
    *,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    fusion: str = "add",
    squeeze: Squeeze = "score",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build GCNet's context block: ``x + transform(attention_pool(x))`` (Cao et al., arXiv:1904.11492).

    The attention pool is a one-head pixel scorer with bias, temperature 1 and a random start, as in the official code.
    ``fusion="mul"`` scales by ``sigmoid(transform(...))`` instead; there a new module halves its input.
    """
    if fusion not in ("add", "mul"):
        raise ValueError(f"fusion must be 'add' or 'mul', got {fusion!r}")
    hidden = reduced(channels, rd_ratio, rd_channels, rd_divisor)
    pool: nn.Module
    if squeeze == "score":
        pool = ScorePool2d(channels, bias=True, device=device, dtype=dtype)
        nn.init.kaiming_normal_(pool.get_parameter("weight"), mode="fan_in")
    else:
        pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    statistics = statistics_of(pool, channels)
    transform = ContextTransform(channels, hidden, statistics=statistics, device=device, dtype=dtype)
    return ChannelAttention(pool, transform, Add() if fusion == "add" else nn.Sigmoid())
