"""Squeezes: summarise the pixels of each channel. (B, C, H, W) -> (B, C), or (B, K, C) for K statistics.

The attribute ``statistics`` of a squeeze is K, so that an excitation can be built for it.
"""

from saam.nn.protocol import statistics_of
from saam.nn.squeeze._size import MapSize, height_and_width
from saam.nn.squeeze.covariance import Covariance
from saam.nn.squeeze.dct import DCT
from saam.nn.squeeze.depthwise import DepthwiseConv
from saam.nn.squeeze.names import Squeeze, create_squeeze, list_squeezes
from saam.nn.squeeze.plain import L2, GeM, LogSumExp, Max, Mean, MeanMax, MeanStd, SoftPool

__all__ = [
    "DCT",
    "L2",
    "Covariance",
    "DepthwiseConv",
    "GeM",
    "LogSumExp",
    "MapSize",
    "Max",
    "Mean",
    "MeanMax",
    "MeanStd",
    "SoftPool",
    "Squeeze",
    "create_squeeze",
    "height_and_width",
    "list_squeezes",
    "statistics_of",
]
