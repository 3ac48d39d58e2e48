"""The records of the grammar's modules, in the order in which the catalog registers them."""

from functools import partial

from saam.nn.presets.bottleneck import SAAM, bam_channel, cbam_channel, ese, gc, se
from saam.nn.presets.channelwise import eca, eca_kernel_size, eca_of_stage, gct, srm
from saam.nn.presets.places import fca, ge, ge_minus, ge_plus, gsop
from saam.nn.presets.width import reduced
from saam.nn.registry import AttentionRecord
from saam.nn.squeeze import MapSize, height_and_width

__all__ = ["RECORDS"]

_HU = "Hu, Shen, Albanie, Sun, Wu: Squeeze-and-Excitation Networks, CVPR 2018"
_GE = "Hu, Shen, Albanie, Sun, Vedaldi: Gather-Excite: Exploiting Feature Context in CNNs, NeurIPS 2018"
_ECA = "Wang, Wu, Zhu, Li, Zuo, Hu: ECA-Net: Efficient Channel Attention, CVPR 2020"
_GC = "Cao, Xu, Lin, Wei, Hu: GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond, ICCVW 2019"
_GC_CODE = "xvjiarui/GCNet, mmdet/ops/gcb/context_block.py"
_ON_ALL = "on everything"
_UNKNOWN = "not published"
_NOT_THE_SCORER = "on everything by the authors; here not on the scorer"
_NOT_NORMS = "on all weights, not on biases and norms"
_NEEDS_A_BATCH = "In training it norms over the batch, which must be 2 or more."


def _mlp(channels: int, hidden: int) -> int:
    return 2 * channels * hidden + hidden + channels


def _se(channels: int) -> int:
    return _mlp(channels, reduced(channels, 1 / 16, None, 1))


def _gc(channels: int) -> int:
    hidden = reduced(channels, 1 / 16, None, 1)
    return channels + 1 + _mlp(channels, hidden) + 2 * hidden


def _ge(channels: int, size: MapSize = 7) -> int:
    height, width = height_and_width(size)
    return channels * height * width + 2 * channels


def _eca_variant(kernels: tuple[int, ...], networks: str) -> AttentionRecord:
    name = "".join(map(str, kernels))
    return AttentionRecord(
        name=f"eca:{name}",
        build=partial(eca_of_stage, kernels=kernels),
        description=f"eca with kernel sizes {', '.join(map(str, kernels))} in the four stages of the network",
        paper=_ECA,
        arxiv="1910.03151",
        source="BangguWu/ECANet, README.md",
        parameters=lambda channels, stage=1: kernels[stage - 1],
        formula=f"k = {', '.join(map(str, kernels))} by stage",
        weight_decay=_ON_ALL,
        per_stage=True,
        notes=f"As released for {networks}. Needs the option stage, from 1.",
    )


RECORDS: tuple[AttentionRecord, ...] = (
    AttentionRecord(
        name="se",
        build=se,
        description="mean squeeze, bottleneck MLP with biases, sigmoid",
        paper=_HU,
        arxiv="1709.01507",
        source="hujie-frank/SENet, models/SE-ResNet-50.prototxt",
        parameters=_se,
        formula="2Cp + p + C",
        weight_decay=_UNKNOWN,
    ),
    AttentionRecord(
        name="se:nobias",
        build=partial(se, bias=False),
        description="se without biases, as most re-implementations have it",
        paper=_HU,
        arxiv="1709.01507",
        source="common re-implementations",
        parameters=lambda channels: 2 * channels * reduced(channels, 1 / 16, None, 1),
        formula="2Cp",
        weight_decay=_ON_ALL,
    ),
    AttentionRecord(
        name="se:timm",
        build=partial(se, rd_divisor=8),
        description="se with the hidden width rounded to a multiple of 8",
        paper=_HU,
        arxiv="1709.01507",
        source="huggingface/pytorch-image-models, timm/layers/squeeze_excite.py",
        parameters=lambda channels: _mlp(channels, reduced(channels, 1 / 16, None, 8)),
        formula="2Ch + h + C, h = C/16 to the nearest multiple of 8",
        weight_decay=_NOT_NORMS,
        notes="At CIFAR widths it has 2.4 times the paper's parameters.",
    ),
    AttentionRecord(
        name="ese",
        build=ese,
        description="mean squeeze, one fully connected layer without a bottleneck, hard sigmoid",
        paper="Lee, Park: CenterMask: Real-Time Anchor-Free Instance Segmentation, CVPR 2020",
        arxiv="1911.06667",
        source="youngwanLEE/vovnet-detectron2, vovnet/vovnet.py",
        placement="after the 1x1 convolution that joins an aggregation block, before its addition",
        parameters=lambda channels: channels * channels + channels,
        formula="C*C + C",
        weight_decay=_NOT_NORMS,
        notes="Beyond logits of -3 and 3 the gate is flat and passes no gradient.",
    ),
    AttentionRecord(
        name="cbam-channel",
        build=cbam_channel,
        description="mean and max squeeze, one shared MLP on each, summed, sigmoid",
        paper="Woo, Park, Lee, Kweon: CBAM: Convolutional Block Attention Module, ECCV 2018",
        arxiv="1807.06521",
        source="Jongchan/attention-module, MODELS/cbam.py",
        parameters=_se,
        formula="2Cp + p + C",
        weight_decay=_ON_ALL,
        notes="The channel part alone. Pixels that tie for the maximum share its gradient.",
    ),
    AttentionRecord(
        name="bam-channel",
        build=bam_channel,
        description="mean squeeze, bottleneck MLP with a batch norm, 1 + sigmoid",
        paper="Park, Woo, Lee, Kweon: BAM: Bottleneck Attention Module, BMVC 2018",
        arxiv="1807.06514",
        source="Jongchan/attention-module, MODELS/bam.py",
        placement="at the end of each stage but the last",
        parameters=lambda channels: _se(channels) + 2 * reduced(channels, 1 / 16, None, 1),
        formula="2Cp + 3p + C",
        weight_decay=_ON_ALL,
        notes="The channel branch alone. The norm is on the bottleneck, as in the code; the paper's equation has it at "
        f"the end. {_NEEDS_A_BATCH} No logit makes it the identity: the factor is between 1 and 2.",
    ),
    AttentionRecord(
        name="ge-minus",
        build=ge_minus,
        description="mean squeeze, sigmoid, no parameters",
        paper=_GE,
        arxiv="1810.12348",
        source="hujie-frank/GENet, models/RN50-GEPF.prototxt",
        parameters=lambda channels: 0,
        formula="0",
        weight_decay="no parameters",
        notes="It has no layer that could start at zero.",
    ),
    AttentionRecord(
        name="ge",
        build=ge,
        description="depthwise convolution as large as the map, batch norm, sigmoid",
        paper=_GE,
        arxiv="1810.12348",
        source="hujie-frank/GENet, models/RN50-GEP.prototxt",
        parameters=_ge,
        formula="CHW + 2C",
        weight_decay=_NOT_NORMS,
        fixed_size=True,
        notes=f"Needs the option size, and takes maps of that size alone. {_NEEDS_A_BATCH}",
    ),
    AttentionRecord(
        name="ge-plus",
        build=ge_plus,
        description="the squeeze and norm of ge, ReLU, bottleneck MLP with biases, sigmoid",
        paper=_GE,
        arxiv="1810.12348",
        source="hujie-frank/GENet, models/RN50-GEPP.prototxt",
        parameters=lambda channels, size=7: _ge(channels, size) + _se(channels),
        formula="CHW + 2C + 2Cp + p + C",
        weight_decay=_NOT_NORMS,
        fixed_size=True,
        notes=f"Needs the option size, and takes maps of that size alone. {_NEEDS_A_BATCH}",
    ),
    AttentionRecord(
        name="srm",
        build=srm,
        description="mean and deviation squeeze, two weights per channel, batch norm, sigmoid",
        paper="Lee, Kim, Nam: SRM: A Style-based Recalibration Module for Convolutional Neural Networks, ICCV 2019",
        arxiv="1903.10829",
        source="hyunjaelee410/style-based-recalibration-module, models/recalibration_modules.py",
        parameters=lambda channels: 4 * channels,
        formula="4C",
        weight_decay="on none of its parameters",
        notes=f"A new module halves its input: the weights start at zero. {_NEEDS_A_BATCH} "
        "A map of one pixel, on which the authors' code gives NaN, has deviation 0.",
    ),
    AttentionRecord(
        name="eca",
        build=eca,
        description="mean squeeze, one convolution over the channel axis, sigmoid",
        paper=_ECA,
        arxiv="1910.03151",
        source="BangguWu/ECANet, models/eca_module.py",
        parameters=eca_kernel_size,
        formula="k = (log2 C + 1)/2, odd",
        weight_decay=_ON_ALL,
        notes="The kernel size follows the paper's formula; the released networks set it per stage. "
        "Permuting channels changes the result.",
    ),
    _eca_variant((3, 5, 5, 7), "ResNet-50"),
    _eca_variant((3, 5, 7, 7), "ResNet-18"),
    _eca_variant((3, 3, 5, 7), "ResNet-34, 101 and 152"),
    AttentionRecord(
        name="gc",
        build=gc,
        description="attention pool with one softmax map, bottleneck with LayerNorm, added to the map",
        paper=_GC,
        arxiv="1904.11492",
        source=_GC_CODE,
        parameters=_gc,
        formula="C + 1 + 2Cp + 3p + C",
        weight_decay=_NOT_THE_SCORER,
        notes="The nearest relative of saam; its scorer starts at random, has temperature 1 and a bias that the "
        "softmax cancels. With 16 channels or fewer the bottleneck is one wide and its LayerNorm hides the input.",
    ),
    AttentionRecord(
        name="gc:mul",
        build=partial(gc, fusion="mul"),
        description="gc with a sigmoid factor in place of the addition",
        paper=_GC,
        arxiv="1904.11492",
        source=_GC_CODE,
        parameters=_gc,
        formula="C + 1 + 2Cp + 3p + C",
        weight_decay=_NOT_THE_SCORER,
        notes="A new module halves its input: the last layer starts at zero.",
    ),
    AttentionRecord(
        name="gct",
        build=gct,
        description="L2 norm squeeze, each channel against the root mean square of all, 1 + tanh",
        paper="Yang, Zhu, Wu, Yang: Gated Channel Transformation for Visual Recognition, CVPR 2020",
        arxiv="1909.11519",
        source="z-x-yang/GCT, PyTorch/GCT.py",
        placement="before each convolution",
        parameters=lambda channels: 3 * channels,
        formula="3C",
        weight_decay="on alpha and gamma, not on beta",
        notes="A new module is the identity. The squeeze grows with the square root of the number of pixels.",
    ),
    AttentionRecord(
        name="fca",
        build=fca,
        description="one cosine transform coefficient per channel, sixteen frequencies, bottleneck MLP, sigmoid",
        paper="Qin, Zhang, Wu, Li: FcaNet: Frequency Channel Attention Networks, ICCV 2021",
        arxiv="2012.11879",
        source="cfzd/FcaNet, model/layer.py",
        parameters=lambda channels: 2 * channels * reduced(channels, 1 / 16, None, 1),
        formula="2Cp",
        weight_decay=_ON_ALL,
        notes="The channels must be divisible by frequencies (16, the paper's top16). Maps under 7 pixels, where all "
        "frequencies would be the mean, are refused unless size is given.",
    ),
    AttentionRecord(
        name="gsop",
        build=gsop,
        description="covariance of 128 reduced channels, convolution of its rows, sigmoid",
        paper="Gao, Xie, Wang, Li: Global Second-order Pooling Convolutional Networks, CVPR 2019",
        arxiv="1811.12006",
        source="ZilinGao/Global-Second-order-Pooling-Convolutional-Networks, torchvision/models/resnet.py",
        parameters=lambda channels: 5 * 128 * channels + 4 * 128**2 + 9 * 128 + channels,
        formula="5dC + 4d*d + 9d + C, d = 128",
        weight_decay=_ON_ALL,
        notes="The channel attention alone. Heavy at CIFAR widths: 66,688 parameters before the first channel. In a "
        "network's first stage the authors' code reduces with stride 2; here every pixel counts.",
    ),
    AttentionRecord(
        name="saam",
        build=SAAM,
        description="score-based aggregation, then the excitation and gate of se",
        paper="Lee, Chung: Score-based Aggregation for Attention Modules in Image Classification Tasks, TIME-E 2019",
        source="this project; only the paper's abstract is public, the details are our reconstruction",
        parameters=lambda channels: _se(channels) + channels,
        formula="2Cp + p + C + C",
        weight_decay="on the excitation's weights, not on the scorer",
        notes="Starts as an se: the scorer is zero. Options: heads, scorer, kernel_size, temperature.",
    ),
)
