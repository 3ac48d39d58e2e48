"""The Score-based Aggregated Attention Module (Lee & Chung, TIME-E 2019): ``se`` with a squeeze by learned scores."""

from typing import Literal

import torch

from saam._core.devices import Device
from saam._core.options import given
from saam.nn.attention_record import AttentionRecord
from saam.nn.attentions.se import se
from saam.nn.channel_attention import ChannelAttention
from saam.nn.score_pool import ScorePool2d, Scorer
from saam.nn.squeeze import Squeeze

__all__ = ["RECORDS", "SAAM"]


class SAAM(ChannelAttention):
    """Score-based Aggregated Attention Module: the excitation of ``se`` with a squeeze by learned scores.

    It computes ``x * sigmoid(fc2(relu(fc1(context))))`` with ``context`` from :class:`saam.ScorePool2d`. The scorer
    starts at zero, so a new SAAM computes the same as an ``se`` with the same excitation. After Lee & Chung, TIME-E
    2019 (doi 10.1109/TIME-E47986.2019.9353302). Only the abstract of the paper is public: scorer, reduction and
    placement are our reconstruction.

    Args:
        channels: C.
        rd_ratio, rd_channels, rd_divisor: The width of the bottleneck, as in timm; C/16 by default.
        heads, scorer, kernel_size, temperature: Options of :class:`saam.ScorePool2d`, with its defaults.
        squeeze: "score", or another squeeze to use instead.
        device, dtype: Device and dtype of the parameters.

    Shape:
        (B, C, H, W) -> (B, C, H, W).

    Raises:
        ValueError: If the heads do not divide the channels, or another option is out of range.

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
        heads: int | None = None,
        scorer: Scorer | None = None,
        kernel_size: int | None = None,
        temperature: float | Literal["sqrt"] | None = None,
        squeeze: Squeeze = "score",
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        scoring = given(heads=heads, scorer=scorer, kernel_size=kernel_size, temperature=temperature)
        if squeeze == "score":
            squeeze = ScorePool2d(channels, **scoring, device=device, dtype=dtype)
        elif scoring:
            raise ValueError(
                "heads, scorer, kernel_size, temperature belong to squeeze='score'; leave them out with "
                f"squeeze={squeeze!r}"
            )
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


RECORDS = (
    AttentionRecord(
        name="saam",
        build=SAAM,
        description="score-based aggregation, then the excitation and gate of se",
        paper="Lee, Chung: Score-based Aggregation for Attention Modules in Image Classification Tasks, TIME-E 2019",
        source="this project; only the paper's abstract is public, the details are our reconstruction",
        formula="2Cp + p + C + C",
        weight_decay="on the excitation's weights, not on the scorer",
        notes="It starts as an se, because the scorer starts at zero. By default it has one head, the 'pixel' scorer, "
        "kernel size 1 and temperature 1.",
    ),
)
