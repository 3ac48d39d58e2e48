"""The attention modules, one file a family, each with its functions or classes and their records.

All take the channels first, timm's ``rd_ratio``, ``rd_channels`` and ``rd_divisor`` where they have a bottleneck,
``squeeze`` where their squeeze can be swapped, and ``device`` and ``dtype`` last. All map (B, C, H, W) to the same
shape. The list below is the catalog, in the order of ``saam list``: what the grammar composes, then the others.
"""

from saam.nn.attentions import (
    bam,
    cbam,
    coord,
    eca,
    ese,
    fca,
    gc,
    gct,
    ge,
    gsop,
    saam,
    se,
    simam,
    srm,
    triplet,
)
from saam.nn.registry import register

__all__: list[str] = []

for _record in (
    *se.RECORDS,
    *ese.RECORDS,
    cbam.CHANNEL,
    bam.CHANNEL,
    *ge.RECORDS,
    *srm.RECORDS,
    *eca.RECORDS,
    *gc.RECORDS,
    *gct.RECORDS,
    *fca.RECORDS,
    *gsop.RECORDS,
    *saam.RECORDS,
    cbam.WHOLE,
    *bam.RECORDS,
    *simam.RECORDS,
    *coord.RECORDS,
    *triplet.RECORDS,
):
    register(_record)
