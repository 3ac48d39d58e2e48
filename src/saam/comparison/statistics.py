"""Statistics of the records: per arm, and per seed relative to a reference arm.

For one seed, all arms of a comparison share the backbone's initial weights, the batches and the augmentation draws. So
the unit of evidence is the difference ``arm - reference`` of one seed, and nothing else is tested.

The **verdict** is anytime-valid (`saam.comparison.anytime`): one may look after every seed and stop when an arm is
decided.

- better or worse: the e-process has reached the bound, after Holm's correction over the arms, with its p-value
  ``min(1, 1 / E)``; and the mean lies on the same side as the evidence;
- equivalent: the 95 % confidence sequence lies within plus or minus the metric's delta, and the scores of some two runs
  differ by no more than that: where one test image weighs more than delta, ties show nothing;
- cannot tell yet: otherwise; `Evidence.more_seeds` estimates how many more seeds are needed.

In addition there are statistics that require a fixed number of seeds (`saam.comparison.signflip`): the interval, ``p``
and ``p_holm`` of the sign-flip test, and ``minimum_detectable``, the true difference that a paired t-test at .05 would
find with power .8, given this n and spread.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from saam._core.errors import unknown
from saam.comparison.anytime import ALPHA, confidence_sequence, direction, e_value, seeds_to_go
from saam.comparison.metrics import ACCURACY, LOSS, Metric
from saam.comparison.records import RunRecord
from saam.comparison.signflip import detectable, holm, sign_flip, sign_flip_interval

__all__ = [
    "ArmSummary",
    "Difference",
    "Evidence",
    "Summary",
    "Verdict",
    "holm",
    "seeds_needed",
    "sign_flip",
    "summarise",
    "undecided",
]

Verdict = Literal["better", "worse", "equivalent", "cannot tell yet"]

_KNOWN = {metric.name: metric for metric in (ACCURACY, LOSS)}


@dataclass(frozen=True)
class ArmSummary:
    """The test scores of one arm.

    ``std`` is the sample standard deviation over seeds. ``low`` to ``high`` is the 95 % interval of the mean (Student's
    t), clipped to possible scores. With one seed these three are NaN. ``values`` holds the score of every run by seed.
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
class Evidence:
    """The anytime-valid evidence from the differences of one arm.

    Attributes:
        e: The largest value of the e-process so far.
        p_holm: ``min(1, 1 / e)`` after Holm's correction over the arms.
        low: Lower end of the 95 % confidence sequence, uncorrected; infinite while there are too few seeds.
        high: Its upper end.
        more_seeds: Median number of further seeds until a verdict, if the trend continues. 0 if there is a verdict;
            None if it is more than 200, or a run has diverged.
    """

    e: float
    p_holm: float
    low: float
    high: float
    more_seeds: int | None


@dataclass(frozen=True)
class Difference:
    """One arm minus the reference, paired by seed. Only seeds that both have finished count; ``n`` is their number.

    Attributes:
        arm: Label of the arm.
        reference: Label of the arm that is subtracted.
        metric: The metric of the scores.
        n: Number of pairs.
        mean: Mean of the differences; NaN without pairs.
        low: Lower end of the 95 % interval for a fixed number of seeds; infinite with fewer than six pairs.
        high: Its upper end.
        p: P-value of the sign-flip test.
        p_holm: The same after Holm's correction over the arms.
        minimum_detectable: The true difference that a paired t-test would find with power .8.
        ahead: Probability that the arm beats the reference on a new seed, by Student's t prediction from the pairs; NaN
            with fewer than two.
        values: The differences by seed, in ascending order.
        evidence: The anytime-valid evidence.
        verdict: The anytime-valid verdict on the arm relative to the reference.
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
    ahead: float
    values: Mapping[int, float]
    evidence: Evidence
    verdict: Verdict


@dataclass(frozen=True)
class Summary:
    """All arms in the order of the records, the differences of all but the reference, and notes on their limits."""

    metric: Metric
    reference: str
    arms: tuple[ArmSummary, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def summarise(records: Iterable[RunRecord], *, reference: str, metric: Metric | str = ACCURACY) -> Summary:
    """Summarise the test scores of every arm, and compare each with the reference, seed by seed.

    Args:
        records: Finished runs of one comparison; arms may have different seeds while it is running.
        reference: Label of the arm to compare with.
        metric: The metric; "accuracy" and "loss" stand for `ACCURACY` and `LOSS`.

    Raises:
        ValueError: If there is no such metric, the reference has no run, or an arm has two records for one seed.
    """
    if isinstance(metric, str):
        if metric not in _KNOWN:
            raise unknown("metric", metric, _KNOWN)
        metric = _KNOWN[metric]
    values: dict[str, dict[int, float]] = {}
    for record in records:
        runs = values.setdefault(record.arm, {})
        if record.seed in runs:
            raise ValueError(
                f"two records of arm {record.arm!r} with seed {record.seed}; records of one plan are expected"
            )
        if metric.name not in record.test:
            raise unknown("metric", metric.name, record.test)
        runs[record.seed] = record.test[metric.name]
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
    p_values = holm([sign_flip(list(pairs.values())) for pairs in paired.values()])
    e_values = [e_value(list(pairs.values()), metric.spread) for pairs in paired.values()]
    anytime = holm([1 / e for e in e_values])
    scores = np.unique([value for runs in values.values() for value in runs.values() if math.isfinite(value)])
    step = float(np.diff(scores).min(initial=math.inf))
    delta = metric.delta if step <= metric.delta else 0.0
    differences = tuple(
        _difference(arm, reference, metric, paired[arm], p_holm, e, p_anytime, len(paired), delta)
        for arm, p_holm, e, p_anytime in zip(paired, p_values, e_values, anytime, strict=True)
    )
    return Summary(metric, reference, arms, differences, _notes(differences, step))


def undecided(records: Iterable[RunRecord], reference: str, metrics: Sequence[Metric]) -> tuple[str, ...]:
    """Return the arms that need more seeds: those without a verdict against the reference in one of the metrics.

    The verdict is anytime-valid, so a comparison may stop when the result is empty. An arm with a diverged run has a
    score that is not finite. Further seeds cannot change this, so the metric counts as decided.

    Args:
        records: Finished runs of one comparison.
        reference: Label of the arm to compare with.
        metrics: Metrics that need a verdict, for example only the primary one.

    Raises:
        ValueError: As in `summarise`.
    """
    runs = list(records)
    arms: dict[str, None] = {}
    for metric in metrics:
        for each in summarise(runs, reference=reference, metric=metric).differences:
            if each.verdict == "cannot tell yet" and not (each.n and math.isnan(each.mean)):
                arms[each.arm] = None
    return tuple(arm for arm in dict.fromkeys(run.arm for run in runs) if arm in arms)


def seeds_needed(comparisons: int) -> int:
    """Return the smallest number of seeds that can decide an arm among this many comparisons; 6 or more.

    With n seeds the e-process is at most 2^(n - 1), and the p of the sign-flip test is at least 2 / 2^n. Both lead to
    the same number.

    Example:
        >>> seeds_needed(1), seeds_needed(3), seeds_needed(6)
        (6, 7, 8)
    """
    n = 1
    while 2 ** (n - 1) <= comparisons / ALPHA:
        n += 1
    return n


def _arm(arm: str, metric: Metric, values: dict[int, float]) -> ArmSummary:
    from scipy import stats  # here, for the workers of a comparison need none of it

    n = len(values)
    scores = np.array(list(values.values()))
    mean = float(scores.mean())
    std = float(scores.std(ddof=1)) if n > 1 else math.nan
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 1)) * std / math.sqrt(n) if n > 1 else math.nan
    low, high = map(float, np.clip((mean - half, mean + half), metric.low, metric.high))
    return ArmSummary(arm, metric, n, mean, std, low, high, values)


def _difference(
    arm: str,
    reference: str,
    metric: Metric,
    values: dict[int, float],
    p_holm: float,
    e: float,
    p_anytime: float,
    comparisons: int,
    delta: float,
) -> Difference:
    d, spread = tuple(values.values()), metric.spread
    n, mean = len(d), float(np.mean(d)) if d else math.nan
    low, high = sign_flip_interval(d)
    sequence = confidence_sequence(d, spread)
    verdict: Verdict = "cannot tell yet"
    side = direction(d, spread)
    if p_anytime <= ALPHA and side * mean > 0:
        verdict = "better" if side == metric.sign else "worse"
    elif -delta <= sequence[0] and sequence[1] <= delta:
        verdict = "equivalent"
    more = seeds_to_go(d, spread, delta, comparisons) if verdict == "cannot tell yet" else 0
    return Difference(
        arm=arm,
        reference=reference,
        metric=metric,
        n=n,
        mean=mean,
        low=low,
        high=high,
        p=sign_flip(d),
        p_holm=p_holm,
        minimum_detectable=detectable(n) * float(np.std(d, ddof=1)) if n > 1 else math.nan,
        ahead=_ahead(d, metric),
        values=values,
        evidence=Evidence(e, p_anytime, *sequence, more),
        verdict=verdict,
    )


def _ahead(d: Sequence[float], metric: Metric) -> float:
    """Return the probability that the next difference is a gain; (d_new - mean) / (s sqrt(1 + 1/n)) has Student's t."""
    from scipy import stats

    n = len(d)
    if n < 2 or not np.isfinite(d).all():
        return math.nan
    mean, std = metric.sign * float(np.mean(d)), float(np.std(d, ddof=1))
    if std == 0:
        return (1 + float(np.sign(mean))) / 2
    return float(stats.t.cdf(mean / (std * math.sqrt(1 + 1 / n)), n - 1))


def _notes(differences: Sequence[Difference], step: float) -> tuple[str, ...]:
    n, k = min((difference.n for difference in differences), default=0), len(differences)
    if not n:
        return ()
    least = seeds_needed(k)
    if n < least:
        seeds, arms = "1 seed" if n == 1 else f"{n} seeds", "1 comparison" if k == 1 else f"{k} comparisons"
        return (f"{seeds} cannot tell anything in {arms}, however large the difference; it takes {least} or more.",)
    metric = differences[0].metric
    if step <= metric.delta:
        return ()
    steps = "are all the same" if math.isinf(step) else f"differ by at least {step:.{metric.digits}f}"
    return (
        f"no two arms can be called equivalent: the values of {metric.label} {steps}, and arms within "
        f"{metric.delta:.{metric.digits}f} are equivalent; more test images show smaller differences.",
    )
