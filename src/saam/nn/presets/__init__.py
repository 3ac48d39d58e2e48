"""The channel attention modules of the literature, each one line of composition.

Every preset takes the channels first, timm's ``rd_ratio``, ``rd_channels`` and ``rd_divisor`` where it has a
bottleneck, ``squeeze`` to swap its squeeze, and ``device`` and ``dtype`` last. All map (B, C, H, W) to the same shape.
"""

from saam.nn.presets.bottleneck import SAAM, bam_channel, cbam_channel, ese, gc, se
from saam.nn.presets.channelwise import eca, eca_kernel_size, eca_of_stage, gct, srm
from saam.nn.presets.places import fca, ge, ge_minus, ge_plus, gsop
from saam.nn.presets.width import reduced

__all__ = [
    "SAAM",
    "bam_channel",
    "cbam_channel",
    "eca",
    "eca_kernel_size",
    "eca_of_stage",
    "ese",
    "fca",
    "gc",
    "gct",
    "ge",
    "ge_minus",
    "ge_plus",
    "gsop",
    "reduced",
    "se",
    "srm",
]
