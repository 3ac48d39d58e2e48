"""The summary over several comparisons: the cells of a study (model x data set), with the same arms in each.

Scores of different data sets have no common scale. Therefore arms are ranked within every cell (1 is best, ties share
the mean of their ranks) and the ranks are averaged, as Demsar recommends. With N cells and k arms:

    Friedman           S = sum_j (R_j - (k + 1) / 2)^2 for the average ranks R_j; its p-value is the share of S as large
                       when the ranks are shuffled within every cell, because chi2 and F are wrong for few cells
    Nemenyi            two arms differ if their average ranks differ by CD = q sqrt(k (k + 1) / (6 N)) or more,
                       with q the studentized range at .05 over sqrt 2

In addition there are the paired differences of every arm to a reference, cell by cell, with Student's t interval over
cells.

Sources: Friedman, JASA 1937; Nemenyi, Distribution-free multiple comparisons, 1963; Demsar, Statistical comparisons of
    classifiers over multiple data sets, JMLR 2006.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from saam._core.errors import unknown
from saam.comparison.metrics import Metric
from saam.comparison.records import RunRecord

__all__ = ["ArmOverCells", "CellsSummary", "mean_scores", "summarise_cells"]

_ALPHA = 0.05
_DRAWS = 9_999


@dataclass(frozen=True)
class ArmOverCells:
    """One arm over all cells.

    Attributes:
        arm: Its label.
        rank: Average rank, 1 is best.
        mean: Mean over cells of the score minus the reference's; 0 for the reference.
        low: Lower end of the 95 % interval of that mean over cells (Student's t); NaN with one cell.
        high: Its upper end.
        wins: Number of cells in which the arm is better than the reference.
        losses: Number of cells in which it is worse.
    """

    arm: str
    rank: float
    mean: float
    low: float
    high: float
    wins: int
    losses: int


@dataclass(frozen=True)
class CellsSummary:
    """All arms over all cells, best average rank first.

    Attributes:
        metric: The metric of the scores.
        reference: Label of the arm that is subtracted.
        cells: Names of the cells in which every arm has a finite score; only these are used.
        left_out: Names of the other cells.
        arms: One entry for each arm.
        p: P-value of the Friedman test, that all arms are equal; NaN with fewer than two cells or arms.
        critical_difference: Nemenyi's critical difference of two average ranks; NaN likewise.
    """

    metric: Metric
    reference: str
    cells: tuple[str, ...]
    left_out: tuple[str, ...]
    arms: tuple[ArmOverCells, ...]
    p: float
    critical_difference: float


def mean_scores(records: Iterable[RunRecord], metric: Metric) -> dict[str, float]:
    """Return arm -> mean test score over the seeds that all arms have finished, as one cell for `summarise_cells`."""
    runs: dict[str, dict[int, float]] = {}
    for record in records:
        runs.setdefault(record.arm, {})[record.seed] = record.test[metric.name]
    common = set.intersection(*map(set, runs.values())) if runs else set()
    return {arm: fmean(scores[seed] for seed in sorted(common)) for arm, scores in runs.items()} if common else {}


def summarise_cells(cells: Mapping[str, Mapping[str, float]], *, metric: Metric, reference: str) -> CellsSummary:
    """Rank the arms over the cells of a study, and compare each with the reference, cell by cell.

    Args:
        cells: Cell -> arm -> score, as returned by `mean_scores`.
        metric: The metric of the scores, which defines the better direction.
        reference: Label of the arm to compare with.

    Raises:
        ValueError: If there is no cell, or no cell has the reference.

    Example:
        >>> from saam.comparison.metrics import ACCURACY
        >>> cells = {"a": {"none": 70.0, "se": 71.0}, "b": {"none": 80.0, "se": 80.5}}
        >>> [(each.arm, each.rank) for each in summarise_cells(cells, metric=ACCURACY, reference="none").arms]
        [('se', 1.0), ('none', 2.0)]
    """
    names = list(dict.fromkeys(arm for scores in cells.values() for arm in scores))
    if not names:
        raise ValueError("expected the scores of one cell or more, got none")
    if reference not in names:
        raise unknown("reference arm", reference, names)
    whole = [cell for cell, scores in cells.items() if all(math.isfinite(scores.get(arm, math.nan)) for arm in names)]
    scores = np.array([[cells[cell][arm] for arm in names] for cell in whole]).reshape(len(whole), len(names))
    ranks = stats.rankdata(-metric.sign * scores, axis=1)
    differences = scores - scores[:, [names.index(reference)]]
    arms = [_arm(arm, ranks[:, place], differences[:, place], metric) for place, arm in enumerate(names) if len(whole)]
    return CellsSummary(
        metric=metric,
        reference=reference,
        cells=tuple(whole),
        left_out=tuple(cell for cell in cells if cell not in whole),
        arms=tuple(sorted(arms, key=lambda each: each.rank)),
        p=_friedman(ranks),
        critical_difference=_critical_difference(*ranks.shape),
    )


def _arm(arm: str, ranks: NDArray[np.float64], differences: NDArray[np.float64], metric: Metric) -> ArmOverCells:
    n, mean = len(differences), float(differences.mean())
    half = math.nan
    if n > 1:
        half = float(stats.t.ppf(1 - _ALPHA / 2, n - 1) * differences.std(ddof=1)) / math.sqrt(n)
    ahead = metric.sign * differences
    return ArmOverCells(
        arm, float(ranks.mean()), mean, mean - half, mean + half, int((ahead > 0).sum()), int((ahead < 0).sum())
    )


def _friedman(ranks: NDArray[np.float64]) -> float:
    """Return the p-value of the Friedman test, from 9,999 shuffles of the ranks within every cell."""
    n, k = ranks.shape
    if min(n, k) < 2:
        return math.nan
    generator = np.random.default_rng(0)
    shuffled = sum(generator.permuted(np.tile(row, (_DRAWS, 1)), axis=1) for row in ranks)
    seen, others = (np.square(sums / n - (k + 1) / 2).sum(axis=-1) for sums in (ranks.sum(axis=0), shuffled))
    return float(1 + (others >= seen - 1e-9).sum()) / (1 + _DRAWS)


def _critical_difference(n: int, k: int) -> float:
    if min(n, k) < 2:
        return math.nan
    q = float(stats.studentized_range.ppf(1 - _ALPHA, k, math.inf)) / math.sqrt(2)
    return q * math.sqrt(k * (k + 1) / (6 * n))
