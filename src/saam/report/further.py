"""Scores that are reported but not judged: top-5 accuracy and calibration."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from saam.comparison import Comparison
from saam.comparison.records import RunRecord

__all__ = ["FurtherScore", "further_scores"]

_TITLES = {"top5": "Top-5, %", "calibration": "Calibration error, %"}


@dataclass(frozen=True)
class FurtherScore:
    """A score of one arm, mean over its seeds.

    Attributes:
        arm: Its label.
        name: Name of the score in the records.
        title: The same with its unit, for a reader.
        n: Number of seeds.
        mean: The mean.
        spread: Standard deviation over seeds; NaN with one seed.
        difference: Mean paired difference to the reference; NaN without a common seed.
    """

    arm: str
    name: str
    title: str
    n: int
    mean: float
    spread: float
    difference: float


def further_scores(comparison: Comparison) -> list[FurtherScore]:
    """Return top-5 accuracy and calibration error of each arm, as far as the records have them.

    The top-5 accuracy is left out where it says nothing: with five classes or fewer.
    """
    names = [name for name in _TITLES if name != "top5" or (comparison.classes or 0) > 5]
    found = []
    for name in names:
        by_arm = {arm: _scores(comparison.records, arm, name) for arm in comparison.plan.arms}
        base = by_arm[comparison.plan.reference]
        for arm, scores in by_arm.items():
            if scores:
                gaps = [score - base[seed] for seed, score in scores.items() if seed in base]
                values = list(scores.values())
                spread = stdev(values) if len(values) > 1 else math.nan
                gap = fmean(gaps) if gaps else math.nan
                found.append(FurtherScore(arm, name, _TITLES[name], len(values), fmean(values), spread, gap))
    return found


def _scores(records: Sequence[RunRecord], arm: str, name: str) -> dict[int, float]:
    scores = {record.seed: record.test.get(name, math.nan) for record in records if record.arm == arm}
    return {seed: score for seed, score in scores.items() if math.isfinite(score)}
