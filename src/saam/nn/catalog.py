"""The records of all modules that come with saam, in the order in which ``saam list`` shows them."""

from functools import partial

from saam.nn.presets import SAAM, cbam_channel, eca, eca_kernel_size, gc, reduced, se
from saam.nn.registry import AttentionRecord, register

__all__: list[str] = []

_HU = "Hu, Shen, Albanie, Sun, Wu: Squeeze-and-Excitation Networks, CVPR 2018"
_CAO = "Cao, Xu, Lin, Wei, Hu: GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, ICCVW 2019"


def _mlp(channels: int, hidden: int) -> int:
    return 2 * channels * hidden + hidden + channels


def _se(channels: int) -> int:
    return _mlp(channels, reduced(channels, 1 / 16, None, 1))


def _gc(channels: int) -> int:
    hidden = reduced(channels, 1 / 16, None, 1)
    return channels + 1 + _mlp(channels, hidden) + 2 * hidden


for _record in (
    AttentionRecord(
        name="se",
        build=se,
        description="mean squeeze, bottleneck MLP with biases, sigmoid",
        paper=_HU,
        arxiv="1709.01507",
        source="hujie-frank/SENet",
        parameters=_se,
    ),
    AttentionRecord(
        name="se:nobias",
        build=partial(se, bias=False),
        description="se without biases, as most re-implementations have it",
        paper=_HU,
        arxiv="1709.01507",
        source="common re-implementations",
        parameters=lambda channels: 2 * channels * reduced(channels, 1 / 16, None, 1),
    ),
    AttentionRecord(
        name="se:timm",
        build=partial(se, rd_divisor=8),
        description="se with the hidden width rounded to a multiple of 8",
        paper=_HU,
        arxiv="1709.01507",
        source="huggingface/pytorch-image-models, timm/layers/squeeze_excite.py",
        parameters=lambda channels: _mlp(channels, reduced(channels, 1 / 16, None, 8)),
        notes="At CIFAR widths it has 2.4 times the paper's parameters.",
    ),
    AttentionRecord(
        name="eca",
        build=eca,
        description="mean squeeze, one convolution over the channel axis, sigmoid",
        paper="Wang, Wu, Zhu, Li, Zuo, Hu: ECA-Net: Efficient Channel Attention, CVPR 2020",
        arxiv="1910.03151",
        source="BangguWu/ECANet",
        parameters=eca_kernel_size,
        notes="The kernel size follows the paper's formula; the released networks set it per stage.",
    ),
    AttentionRecord(
        name="cbam-channel",
        build=cbam_channel,
        description="mean and max squeeze, one shared MLP on each, summed, sigmoid",
        paper="Woo, Park, Lee, Kweon: CBAM: Convolutional Block Attention Module, ECCV 2018",
        arxiv="1807.06521",
        source="Jongchan/attention-module, MODELS/cbam.py",
        parameters=_se,
        notes="The channel part alone. Pixels that tie for the maximum share its gradient.",
    ),
    AttentionRecord(
        name="gc",
        build=gc,
        description="attention pool with one softmax map, bottleneck with LayerNorm, added to the map",
        paper=_CAO,
        arxiv="1904.11492",
        source="xvjiarui/GCNet, mmdet/ops/gcb/context_block.py",
        parameters=_gc,
        notes="The nearest relative of saam; its scorer starts at random, has temperature 1 and a bias that the "
        "softmax cancels. With 16 channels or fewer the bottleneck is one wide and its LayerNorm hides the input.",
    ),
    AttentionRecord(
        name="gc:mul",
        build=partial(gc, fusion="mul"),
        description="gc with a sigmoid factor in place of the addition",
        paper=_CAO,
        arxiv="1904.11492",
        source="xvjiarui/GCNet, mmdet/ops/gcb/context_block.py",
        parameters=_gc,
        notes="A new module halves its input: the last layer starts at zero.",
    ),
    AttentionRecord(
        name="saam",
        build=SAAM,
        description="score-based aggregation, then the excitation and gate of se",
        paper="Lee, Chung: Score-based Aggregation for Attention Modules in Image Classification Tasks, TIME-E 2019",
        source="this project; only the paper's abstract is public, the details are our reconstruction",
        parameters=lambda channels: _se(channels) + channels,
        notes="Starts as an se: the scorer is zero. Options: heads, scorer, kernel_size, temperature.",
    ),
):
    register(_record)
