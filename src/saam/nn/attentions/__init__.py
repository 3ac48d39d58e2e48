"""The attention modules: one file per family, with its functions or classes and their records.

All take the channels first, ``rd_ratio``, ``rd_channels`` and ``rd_divisor`` (as in timm) if they have a bottleneck,
``squeeze`` if their squeeze can be replaced, and ``device`` and ``dtype`` last. All map (B, C, H, W) to the same shape.
The list below is the catalog in the order of ``saam list``: modules of the grammar, then the others.
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
