"""Modules: squeezes, excitations and gates, the attention modules made of them, and their registry."""

import saam.nn.catalog  # noqa: F401  fills the registry
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import BottleneckMLP, ChannelConv1d, ContextTransform, NoExcitation, SharedMLP
from saam.nn.gate import Add, Doubled, OnePlusTanh
from saam.nn.presets import SAAM
from saam.nn.registry import (
    AttentionRecord,
    attention_record,
    create_attention,
    list_attentions,
    parse_attention,
    register,
)
from saam.nn.score_pool import ScorePool2d
from saam.nn.squeeze import Max, Mean, MeanMax, MeanStd, create_squeeze, list_squeezes

__all__ = [
    "SAAM",
    "Add",
    "AttentionRecord",
    "BottleneckMLP",
    "ChannelAttention",
    "ChannelConv1d",
    "ContextTransform",
    "Doubled",
    "Max",
    "Mean",
    "MeanMax",
    "MeanStd",
    "NoExcitation",
    "OnePlusTanh",
    "ScorePool2d",
    "SharedMLP",
    "attention_record",
    "create_attention",
    "create_squeeze",
    "list_attentions",
    "list_squeezes",
    "parse_attention",
    "register",
]
