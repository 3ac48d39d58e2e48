"""Efficient Channel Attention (Wang et al., CVPR 2020, arXiv:1910.03151): a convolution over the channel axis."""

import math
from functools import partial

import torch
from torch import nn

from saam._core.devices import Device
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import ChannelConv1d
from saam.nn.squeeze import Squeeze, create_squeeze, statistics_of

__all__ = ["RECORDS", "eca", "eca_kernel_size", "eca_of_stage"]


def eca_kernel_size(channels: int, *, gamma: float = 2, beta: float = 1) -> int:
    """Return ECA's kernel size: ``(log2 C + beta) / gamma`` rounded down, plus one if even."""
    size = int(abs((math.log2(channels) + beta) / gamma))
    return size if size % 2 else size + 1


def eca(
    channels: int,
    *,
    kernel_size: int | None = None,
    squeeze: Squeeze = "mean",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build Efficient Channel Attention: ``x * sigmoid(conv1d(mean(x)))`` (Wang et al., arXiv:1910.03151).

    If ``kernel_size`` is None, it follows the paper's formula, :func:`eca_kernel_size`.
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
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build ECA as in the released networks, where each stage of the network has its own kernel size.

    Args:
        channels: C.
        kernels: Kernel sizes of the stages, from the first.
        stage: The stage of the module in the network, from 1. The channels do not determine it: the first stage of a
            ResNet-50 has as many as the third of a ResNet-18.
        squeeze: See :func:`saam.nn.create_squeeze`.
        device, dtype: Device and dtype of the parameters.

    Raises:
        ValueError: If the stage is missing, or has no kernel size.
    """
    if stage is None or not 1 <= stage <= len(kernels):
        raise ValueError(
            f"this variant has the kernel sizes {', '.join(map(str, kernels))} in the stages of the network: give the "
            f"module's own as stage=1 to stage={len(kernels)}, got {stage}; 'eca' takes its kernel from the channels"
        )
    return eca(channels, kernel_size=kernels[stage - 1], squeeze=squeeze, device=device, dtype=dtype)


_ECA = "Wang, Wu, Zhu, Li, Zuo, Hu: ECA-Net: Efficient Channel Attention, CVPR 2020"


def _eca_variant(kernels: tuple[int, ...], networks: str) -> AttentionRecord:
    name = "".join(map(str, kernels))
    return AttentionRecord(
        name=f"eca:{name}",
        build=partial(eca_of_stage, kernels=kernels),
        description=f"eca with kernel sizes {', '.join(map(str, kernels))} in the four stages of the network",
        paper=_ECA,
        arxiv="1910.03151",
        source="BangguWu/ECANet, README.md",
        formula=f"k = {', '.join(map(str, kernels))} by stage",
        weight_decay="on everything",
        needs=("stage",),
        notes=f"As released for {networks}. Requires the option stage, from 1.",
    )


RECORDS = (
    AttentionRecord(
        name="eca",
        build=eca,
        description="mean squeeze, one convolution over the channel axis, sigmoid",
        paper=_ECA,
        arxiv="1910.03151",
        source="BangguWu/ECANet, models/eca_module.py",
        formula="k = (log2 C + 1)/2, odd",
        weight_decay="on everything",
        notes="The kernel size follows the paper's formula. The released networks set it per stage. "
        "Permuting channels changes the result.",
    ),
    _eca_variant((3, 5, 5, 7), "ResNet-50"),
    _eca_variant((3, 5, 7, 7), "ResNet-18"),
    _eca_variant((3, 3, 5, 7), "ResNet-34, 101 and 152"),
)
