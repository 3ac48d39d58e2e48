"""The records of the peers, in the order in which the catalog registers them."""

from dataclasses import replace
from functools import partial

from saam.nn.peers.bam import BAM
from saam.nn.peers.cbam import CBAM
from saam.nn.peers.coord import CoordAttention
from saam.nn.peers.simam import SimAM
from saam.nn.peers.triplet import Triplet
from saam.nn.presets import reduced
from saam.nn.registry import AttentionRecord

__all__ = ["RECORDS"]

_EVERYWHERE = "on everything"
_SPATIAL = 2 * 7 * 7 + 2


def _cbam(channels: int) -> int:
    hidden = reduced(channels, 1 / 16, None, 1)
    return 2 * channels * hidden + hidden + channels + _SPATIAL


def _bam(channels: int) -> int:
    hidden = reduced(channels, 1 / 16, None, 1)
    return 3 * channels * hidden + 18 * hidden**2 + 13 * hidden + channels + 1


def _coord(channels: int) -> int:
    hidden = max(8, channels // 32)
    return 3 * channels * hidden + 3 * hidden + 2 * channels


_BAM = AttentionRecord(
    name="bam:code",
    build=BAM,
    description="channel and spatial branch side by side, x * (1 + sigmoid of their product)",
    paper="Park, Woo, Lee, Kweon: BAM: Bottleneck Attention Module, BMVC 2018",
    arxiv="1807.06514",
    source="Jongchan/attention-module, MODELS/bam.py",
    placement="at the end of each stage but the last",
    parameters=_bam,
    formula="3Cp + 18p*p + 13p + C + 1",
    weight_decay=_EVERYWHERE,
    notes="In training it norms over the batch, which must be 2 or more. The authors' code fails on maps that are not "
    "square; here they are pooled whole.",
)

RECORDS: tuple[AttentionRecord, ...] = (
    AttentionRecord(
        name="cbam",
        build=CBAM,
        description="cbam-channel, then a factor per pixel from the maximum and mean of its channels",
        paper="Woo, Park, Lee, Kweon: CBAM: Convolutional Block Attention Module, ECCV 2018",
        arxiv="1807.06521",
        source="Jongchan/attention-module, MODELS/cbam.py",
        parameters=_cbam,
        formula="2Cp + p + C + 98 + 2",
        weight_decay=_EVERYWHERE,
        notes="The authors' network starts the norm of the spatial part at zero, where its gate is 1/2; a module by "
        "itself has it at one. The norm is not in the paper. Values that tie for the maximum share its gradient.",
    ),
    _BAM,
    replace(
        _BAM,
        name="bam:paper",
        build=partial(BAM, combination="sum"),
        description="channel and spatial branch side by side, x * (1 + sigmoid of their sum)",
        source="the paper, equation 2; norms as in Jongchan/attention-module, MODELS/bam.py",
        notes=f"{_BAM.notes} The paper's equations have a norm at the end of each branch and none inside; here the two "
        "variants differ in the combination alone.",
    ),
    replace(_BAM, name="bam", notes=f"Another name of bam:code. {_BAM.notes}"),
    AttentionRecord(
        name="simam",
        build=SimAM,
        description="a factor per pixel and channel from how far it stands out of its channel; no parameters",
        paper="Yang, Zhang, Li, Xie: SimAM: A Simple, Parameter-Free Attention Module, ICML 2021",
        source="ZjjConan/SimAM, networks/attentions/simam_module.py",
        placement="after the block's second convolution, before its norm",
        parameters=lambda channels: 0,
        formula="0",
        weight_decay="no parameters",
        notes="The factor is between sigmoid(1/2) = .62 and 1. In a map of one pixel, where the authors' code divides "
        "zero by zero, the variance is 0. Saves several maps for the backward pass.",
    ),
    AttentionRecord(
        name="coord",
        build=CoordAttention,
        description="a factor per row and one per column, from row and column means through a shared bottleneck",
        paper="Hou, Zhou, Feng: Coordinate Attention for Efficient Mobile Network Design, CVPR 2021",
        arxiv="2103.02907",
        source="houqb/CoordAttention, coordatt.py",
        placement="in the expanded part of an inverted residual, before the last convolution",
        parameters=_coord,
        formula="3Cm + 3m + 2C, m = max(8, C/32)",
        weight_decay="not published",
        notes="The bottleneck is never narrower than 8, so that it is heavy at CIFAR widths.",
    ),
    AttentionRecord(
        name="triplet",
        build=Triplet,
        description="mean of three spatial gates of CBAM, over (H, W), (C, W) and (H, C)",
        paper="Misra, Nalamada, Arasanipalai, Hou: Rotate to Attend: Convolutional Triplet Attention Module, WACV 2021",
        arxiv="2010.03045",
        source="landskape-ai/triplet-attention, triplet_attention.py",
        parameters=lambda channels: 3 * _SPATIAL,
        formula="300",
        weight_decay=_EVERYWHERE,
        notes="Few parameters and much memory traffic: measure time. Permuting channels changes the result.",
    ),
)
