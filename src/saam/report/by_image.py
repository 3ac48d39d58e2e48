"""The scores of every run of a comparison on each test image."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from saam.comparison import Comparison, read_values

__all__ = ["ByImage", "by_image"]

ByImage = Mapping[tuple[str, int], Mapping[str, Tensor]]
"""(arm, seed) -> the scores (N,) of that run by name, as returned by `saam.comparison.read_values`."""


def by_image(out: str | Path, comparison: Comparison) -> ByImage:
    """Return the scores on each test image of all finished runs of a comparison that have them.

    Args:
        out: Folder of the comparison.
        comparison: The comparison in it.

    Raises:
        ValueError: If a file of scores is damaged.
    """
    scores = {}
    for record in comparison.records:
        try:
            scores[record.arm, record.seed] = read_values(out, record.id)
        except FileNotFoundError:  # only newer versions store them
            continue
    return scores
