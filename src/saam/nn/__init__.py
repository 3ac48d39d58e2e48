"""Modules: squeezes, excitations and gates, the attention modules made of them, and their registry."""

from saam.nn.attention_record import AttentionRecord
from saam.nn.attentions.saam import SAAM
from saam.nn.channel_attention import ChannelAttention
from saam.nn.excitation import (
    BottleneckMLP,
    ChannelConv1d,
    ChannelNormalization,
    FullLinear,
    NoExcitation,
    NormedMLP,
    PerChannelLinear,
    PerChannelNorm,
    RowTransform,
    SharedMLP,
)
from saam.nn.gate import Add, Doubled, OnePlusSigmoid, OnePlusTanh
from saam.nn.registry import attention_record, create_attention, list_attentions, parse_attention, register
from saam.nn.score_pool import MeanScore, ScorePool, ScorePool2d
from saam.nn.squeeze import (
    DCT,
    L2,
    Covariance,
    DepthwiseConv,
    GeM,
    LogSumExp,
    Max,
    Mean,
    MeanMax,
    MeanStd,
    SoftPool,
    create_squeeze,
    list_squeezes,
)
from saam.nn.weight_decay import no_weight_decay

__all__ = [
    "DCT",
    "L2",
    "SAAM",
    "Add",
    "AttentionRecord",
    "BottleneckMLP",
    "ChannelAttention",
    "ChannelConv1d",
    "ChannelNormalization",
    "Covariance",
    "DepthwiseConv",
    "Doubled",
    "FullLinear",
    "GeM",
    "LogSumExp",
    "Max",
    "Mean",
    "MeanMax",
    "MeanScore",
    "MeanStd",
    "NoExcitation",
    "NormedMLP",
    "OnePlusSigmoid",
    "OnePlusTanh",
    "PerChannelLinear",
    "PerChannelNorm",
    "RowTransform",
    "ScorePool",
    "ScorePool2d",
    "SharedMLP",
    "SoftPool",
    "attention_record",
    "create_attention",
    "create_squeeze",
    "list_attentions",
    "list_squeezes",
    "no_weight_decay",
    "parse_attention",
    "register",
]
