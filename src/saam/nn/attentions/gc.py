"""GCNet's context block (Cao et al., ICCVW 2019, arXiv:1904.11492): ``x + transform(attention_pool(x))``."""

from functools import partial

import torch
from torch import nn

from saam._core.devices import Device
from saam.nn.attention_record import AttentionRecord
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import BottleneckMLP
from saam.nn.gate import Add
from saam.nn.score_pool import ScorePool2d
from saam.nn.squeeze import Squeeze, create_squeeze, statistics_of
from saam.nn.width import reduced

__all__ = ["RECORDS", "gc"]


def gc(
    channels: int,
    *,
    rd_ratio: float = 1 / 16,
    rd_channels: int | None = None,
    rd_divisor: int = 1,
    fusion: str = "add",
    squeeze: Squeeze = "score",
    device: Device = None,
    dtype: torch.dtype | None = None,
) -> ChannelAttention:
    """Build GCNet's context block: ``x + transform(attention_pool(x))`` (Cao et al., arXiv:1904.11492).

    As in the official code, the attention pool is a one-head pixel scorer with bias, temperature 1 and random weights,
    and the last layer of the transform starts at zero. ``fusion="mul"`` scales by ``sigmoid(transform(...))`` instead;
    then a new module halves its input.
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
    transform = BottleneckMLP(channels, hidden, statistics=statistics, norm="layer", device=device, dtype=dtype)
    transform.zero_last_()
    return ChannelAttention(pool, transform, Add() if fusion == "add" else nn.Sigmoid())


_GC = "Cao, Xu, Lin, Wei, Hu: GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, ICCVW 2019"

RECORDS = (
    AttentionRecord(
        name="gc",
        build=gc,
        description="attention pool with one softmax map, bottleneck with LayerNorm, added to the map",
        paper=_GC,
        arxiv="1904.11492",
        source="xvjiarui/GCNet, mmdet/ops/gcb/context_block.py",
        formula="C + 1 + 2Cp + 3p + C",
        weight_decay="on everything by the authors; here not on the scorer",
        notes="The module closest to saam. Its scorer starts at random and has temperature 1 and a bias, which the "
        "softmax cancels. With fewer than 24 channels the bottleneck has width one, and its LayerNorm removes the "
        "input.",
    ),
    AttentionRecord(
        name="gc:mul",
        build=partial(gc, fusion="mul"),
        description="gc with a sigmoid factor in place of the addition",
        paper=_GC,
        arxiv="1904.11492",
        source="xvjiarui/GCNet, mmdet/ops/gcb/context_block.py",
        formula="C + 1 + 2Cp + 3p + C",
        weight_decay="on everything by the authors; here not on the scorer",
        notes="A new module halves its input: the last layer starts at zero.",
    ),
)
