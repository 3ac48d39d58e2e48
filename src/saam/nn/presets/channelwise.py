"""Presets with a few parameters per channel or per module: eca, srm, gct."""

import math

import torch
from torch import nn

from saam.nn._check import require_channels
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import ChannelConv1d, ChannelNormalization, PerChannelLinear
from saam.nn.gate import OnePlusTanh
from saam.nn.squeeze import Squeeze, create_squeeze, statistics_of

__all__ = ["eca", "eca_kernel_size", "eca_of_stage", "gct", "srm"]


def eca_kernel_size(channels: int, *, gamma: float = 2, beta: float = 1) -> int:
    """Return ECA's kernel size: ``(log2 C + beta) / gamma`` cut to a whole number, and the next odd one if even."""
    size = int(abs((math.log2(channels) + beta) / gamma))
    return size if size % 2 else size + 1


def eca(
    channels: int,
    *,
    kernel_size: int | None = None,
    squeeze: Squeeze = "mean",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Efficient Channel Attention: ``x * sigmoid(conv1d(mean(x)))`` (Wang et al., arXiv:1910.03151).

    ``kernel_size`` None takes the paper's formula, :func:`eca_kernel_size`.
    """
    require_channels(channels)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    size = eca_kernel_size(channels) if kernel_size is None else kernel_size
    conv = ChannelConv1d(channels, size, statistics=statistics_of(pool, channels), device=device, dtype=dtype)
    return ChannelAttention(pool, conv, nn.Sigmoid())


def eca_of_stage(
    channels: int,
    *,
    kernels: tuple[int, ...],
    stage: int | None = None,
    squeeze: Squeeze = "mean",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build ECA as in the released networks, where each stage of the network has its own kernel size.

    Args:
        channels: C.
        kernels: kernel sizes of the stages, from the first.
        stage: the stage in which the module stands, from 1. It cannot be told from the channels: a ResNet-50 has in its
            first stage as many as a ResNet-18 in its third.
        squeeze: see :func:`saam.nn.create_squeeze`.
        device, dtype: of the parameters.

    Raises:
        ValueError: no stage, or one that has no kernel size.
    """
    if stage is None or not 1 <= stage <= len(kernels):
        raise ValueError(
            f"this variant has the kernel sizes {', '.join(map(str, kernels))} in the stages of the network: give the "
            f"module's own as stage=1 to stage={len(kernels)}, got {stage}; 'eca' takes its kernel from the channels"
        )
    return eca(channels, kernel_size=kernels[stage - 1], squeeze=squeeze, device=device, dtype=dtype)


def srm(
    channels: int,
    *,
    squeeze: Squeeze = "mean+std",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build the Style-based Recalibration Module (Lee, Kim, Nam, arXiv:1903.10829).

    ``x * sigmoid(norm(a * mean(x) + b * std(x)))`` with a and b of each channel, started at zero, and a batch norm.
    """
    require_channels(channels)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    linear = PerChannelLinear(channels, statistics=statistics_of(pool, channels), device=device, dtype=dtype)
    return ChannelAttention(pool, linear, nn.Sigmoid())


def gct(
    channels: int,
    *,
    squeeze: Squeeze = "l2",
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build the Gated Channel Transformation (Yang et al., arXiv:1909.11519), a new one being the identity.

    ``x * (1 + tanh(gamma * e / sqrt(mean over channels of e^2) + beta))`` with ``e = alpha * l2(x)``.
    """
    require_channels(channels)
    pool = create_squeeze(squeeze, channels, device=device, dtype=dtype)
    norm = ChannelNormalization(channels, statistics=statistics_of(pool, channels), device=device, dtype=dtype)
    return ChannelAttention(pool, norm, OnePlusTanh())
