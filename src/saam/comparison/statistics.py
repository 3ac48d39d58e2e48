"""What the records say: per arm, and per seed against a reference arm.

All arms of a comparison share, for one seed, the backbone's initial weights, the batches and the augmentation draws. So
the unit of evidence is the difference ``arm - reference`` of one seed, and nothing else is tested:

- interval: BCa bootstrap of the mean difference (Efron, Better Bootstrap Confidence Intervals, JASA 1987), from five
  pairs on: of fewer it is hardly more than the least and the largest difference, and would read as evidence;
- p: exact sign-flip permutation test, two-sided (Fisher 1935). With n seeds the smallest p it can give is 2 / 2^n;
- p_holm: p after Holm's step-down correction over the arms (Holm, Scand. J. Statistics 1979);
- minimum_detectable: the true difference that a paired t-test at .05 would find with power .8, given this n and spread.

An arm is called better or worse when p_holm < .05, which takes six seeds or more; otherwise these runs cannot tell.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from saam._core.errors import unknown
from saam.comparison.records import RunRecord

__all__ = [
    "RANGES",
    "ArmSummary",
    "Difference",
    "Metric",
    "Summary",
    "Verdict",
    "holm",
    "seeds_needed",
    "sign_flip",
    "summarise",
]

ALPHA = 0.05
POWER = 0.8
MINIMUM_SEEDS = 6
BOOTSTRAP_SEEDS = 5  # below, a difference has no interval
EXACT_SEEDS = 40  # above, the sign-flip test draws signs at random
DRAWS = 99_999  # random sign patterns of that test
RESAMPLES = 9_999  # of the bootstrap

Metric = Literal["accuracy", "loss"]
Verdict = Literal["better", "worse", "cannot tell"]

RANGES: dict[Metric, tuple[float, float]] = {"accuracy": (0.0, 100.0), "loss": (0.0, math.inf)}  # of possible scores


@dataclass(frozen=True)
class ArmSummary:
    """The test scores of one arm: accuracy in %, or loss in nats.

    ``std`` is the sample standard deviation over seeds; ``low`` to ``high`` is the 95 % interval of the mean (Student's
    t) as far as such means are possible. With one seed the three are NaN. ``values`` holds every run by seed.
    """

    arm: str
    metric: Metric
    n: int
    mean: float
    std: float
    low: float
    high: float
    values: Mapping[int, float]


@dataclass(frozen=True)
class Difference:
    """One arm minus the reference, paired by seed; only seeds that both have finished count, and ``n`` is their number.

    ``low`` to ``high`` is the 95 % BCa interval of ``mean``; NaN with fewer than five pairs.
    ``verdict`` says whether the arm is better or worse than the reference: lower is better for the loss.
    """

    arm: str
    reference: str
    metric: Metric
    n: int
    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    minimum_detectable: float
    values: Mapping[int, float]
    verdict: Verdict


@dataclass(frozen=True)
class Summary:
    """All arms in the order of the records, the differences of all but the reference, and what these cannot show."""

    metric: Metric
    reference: str
    arms: tuple[ArmSummary, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def summarise(records: Iterable[RunRecord], *, reference: str, metric: Metric = "accuracy") -> Summary:
    """Summarise the test scores of every arm, and compare each with the reference, seed by seed.

    Args:
        records: finished runs of one comparison; arms may have different seeds while it is under way.
        reference: label of the arm to compare with.
        metric: "accuracy" (%, higher is better) or "loss" (nats, lower is better).

    Raises:
        ValueError: no such metric, no run of the reference, or two records of one arm and seed.
    """
    if metric not in get_args(Metric):
        raise unknown("metric", metric, get_args(Metric))
    values: dict[str, dict[int, float]] = {}
    for record in records:
        runs = values.setdefault(record.arm, {})
        if record.seed in runs:
            raise ValueError(
                f"two records of arm {record.arm!r} with seed {record.seed}; records of one plan are expected"
            )
        runs[record.seed] = record.test[metric]
    if reference not in values:
        raise unknown("reference arm", reference, values)
    arms = tuple(_arm(arm, metric, dict(sorted(runs.items()))) for arm, runs in values.items())
    paired = {
        arm.arm: {
            seed: value - values[reference][seed] for seed, value in arm.values.items() if seed in values[reference]
        }
        for arm in arms
        if arm.arm != reference
    }
    p_values = [sign_flip(list(pairs.values())) for pairs in paired.values()]
    differences = tuple(
        _difference(arm, reference, metric, pairs, p, p_holm)
        for (arm, pairs), p, p_holm in zip(paired.items(), p_values, holm(p_values), strict=True)
    )
    return Summary(metric, reference, arms, differences, _notes(differences))


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the mean of paired differences under random signs.

    p is the share of the 2^n sign patterns whose sum is at least as far from zero as the observed one. Up to 40
    differences every pattern counts (all sums of one half meet all sums of the other by binary search); above, p is
    estimated from 99,999 random patterns and the observed one. No differences give 1; a NaN among them gives NaN.

    Example:
        >>> sign_flip([1, 2, 3, 4, 5, 6])
        0.03125
    """
    d = np.asarray(differences, dtype=float)
    if not np.isfinite(d).all():
        return math.nan
    threshold = abs(d.sum()) - 1e-9 * np.abs(d).sum()  # sums equal but for rounding count as equal
    if len(d) <= EXACT_SEEDS:
        first, second = _signed_sums(d[::2]), np.sort(_signed_sums(d[1::2]))
        above = len(second) - np.searchsorted(second, threshold - first)
        below = np.searchsorted(second, -threshold - first)
        extreme = int(np.sum(above) + np.sum(below)) if threshold > 0 else 1 << len(d)
        return extreme / (1 << len(d))
    signs = 2.0 * np.random.default_rng(0).integers(0, 2, (DRAWS, len(d)), dtype=np.int8) - 1.0
    return (1 + int(np.sum(np.abs(signs @ d) >= threshold))) / (1 + DRAWS)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down method, in the given order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected, running = [math.nan] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda i: (math.isnan(p_values[i]), p_values[i]))
    for rank, i in enumerate(order):
        if not math.isnan(p_values[i]):
            running = max(running, min(1.0, (len(order) - rank) * p_values[i]))
            corrected[i] = running
    return corrected


def seeds_needed(comparisons: int) -> int:
    """Return how many seeds it takes until some arm can reach p_holm < .05 among this many comparisons; 6 or more.

    Example:
        >>> seeds_needed(1), seeds_needed(3), seeds_needed(6)
        (6, 7, 8)
    """
    n = MINIMUM_SEEDS
    while comparisons * 2 / 2**n >= ALPHA:
        n += 1
    return n


def _arm(arm: str, metric: Metric, values: dict[int, float]) -> ArmSummary:
    n = len(values)
    scores = np.array(list(values.values()))
    mean = float(scores.mean())
    std = float(scores.std(ddof=1)) if n > 1 else math.nan
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * std / math.sqrt(n) if n > 1 else math.nan
    low, high = map(float, np.clip((mean - half, mean + half), *RANGES[metric]))
    return ArmSummary(arm, metric, n, mean, std, low, high, values)


def _difference(
    arm: str, reference: str, metric: Metric, values: dict[int, float], p: float, p_holm: float
) -> Difference:
    d = np.array(list(values.values()))
    mean = float(d.mean()) if len(d) else math.nan
    low, high = _interval(d)
    verdict: Verdict = "cannot tell"
    if p_holm < ALPHA:  # never so with fewer than six pairs
        verdict = "better" if (mean > 0) == (metric == "accuracy") else "worse"
    detectable = _detectable(len(d)) * float(d.std(ddof=1)) if len(d) > 1 else math.nan
    return Difference(arm, reference, metric, len(d), mean, low, high, p, p_holm, detectable, values, verdict)


def _interval(d: NDArray[np.float64]) -> tuple[float, float]:
    """95 % BCa interval of the mean; where all differences are equal, that value twice."""
    if len(d) < BOOTSTRAP_SEEDS or not np.isfinite(d).all():
        return math.nan, math.nan
    if np.ptp(d) <= 1e-12 * np.abs(d).max():
        return float(d.mean()), float(d.mean())
    rng = np.random.default_rng(0)
    result = stats.bootstrap((d,), np.mean, method="BCa", confidence_level=1 - ALPHA, n_resamples=RESAMPLES, rng=rng)
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


@lru_cache
def _detectable(n: int) -> float:
    """Smallest true mean difference, in standard deviations, that a paired t-test of n pairs finds with power .8."""
    critical = stats.t.ppf(1 - ALPHA / 2, n - 1)
    # The other tail of the noncentral t is below 1e-4 here, and left out.
    shift = optimize.brentq(lambda shift: stats.nct.sf(critical, n - 1, shift) - POWER, 0.0, 30.0)
    return float(shift) / math.sqrt(n)


def _signed_sums(d: NDArray[np.float64]) -> NDArray[np.float64]:
    """All 2^n sums of +-d."""
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def _notes(differences: Sequence[Difference]) -> tuple[str, ...]:
    n, k = min((difference.n for difference in differences), default=0), len(differences)
    if not n or n >= seeds_needed(k):
        return ()
    floor = min(1.0, k * 2 / 2**n)
    seeds, arms = "1 seed" if n == 1 else f"{n} seeds", "1 comparison" if k == 1 else f"{k} comparisons"
    return (
        f"With {seeds} and {arms} no corrected p can fall below {floor:.3g}: these runs cannot tell; "
        f"{seeds_needed(k)} seeds could.",
    )
