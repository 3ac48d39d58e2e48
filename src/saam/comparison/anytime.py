"""Evidence that stays valid however often one looks: an e-process for paired differences, and its confidence sequence.

People add seeds until they see an effect. If a p-value is recomputed after every seed, far more than 5 % of null
effects are called real; an e-process does not have this problem. If two arms are equally good, the difference d_i of a
seed is symmetric about zero. Then for every number l

    prod over i of  exp(l d_i) / cosh(l d_i)

is a nonnegative martingale that starts at 1, and so is its mean over several l:

    E_n = mean over l in {+-1/4, +-1/2, +-1, +-2, +-4} / spread of  prod over i <= n of  exp(l d_i) / cosh(l d_i)

By Ville's inequality the probability that E_n *ever* reaches 1 / alpha is at most alpha. So the running maximum may be
used: once E_n has reached the bound, later seeds do not take the verdict back. Each factor is at most 2, hence E_n is
at most 2^(n - 1): a single extreme seed cannot decide, and at least six seeds are needed to reach 20. A wrong
``spread`` makes the process slower, not invalid.

`confidence_sequence` inverts the process over a shift m of the differences: it contains every m about which they may be
symmetric. It covers the true centre at all n at once with probability 1 - alpha.

Sources: Ville, Étude critique de la notion de collectif, 1939; Efron, Student's t-test under symmetry conditions, JASA
    1969; de la Peña, A general class of exponential inequalities for martingales and ratios, Ann. Probab. 1999; Ramdas
    et al., Game-theoretic statistics and safe anytime-valid inference, Statistical Science 2023.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ALPHA", "MOST_SEEDS_AHEAD", "confidence_sequence", "direction", "e_process", "e_value", "seeds_to_go"]

ALPHA = 0.05
MOST_SEEDS_AHEAD = 200  # the horizon of a forecast
_FACTORS = np.array([0.25, 0.5, 1.0, 2.0, 4.0])
_FUTURES = 101  # number of simulations, odd so that the median is one of them
_MOST_SHIFTS = 2000  # size of the grid for the ends of a confidence sequence
_HALVINGS = 40
_OVERFLOW = 700.0  # exp of more is infinite


def e_process(differences: ArrayLike, spread: float) -> NDArray[np.float64]:
    """Return the natural logarithm of E_n after every difference.

    Args:
        differences: (..., n), in the order of the seeds.
        spread: The expected standard deviation of a difference, fixed beforehand.

    Returns:
        (..., n).

    Example:
        >>> float(np.exp(e_process([1.0] * 6, 0.5))[-1]) > 20
        True
    """
    upward, downward = _one_sided(np.asarray(differences, dtype=float), spread)
    return np.logaddexp(upward, downward) - math.log(2)


def e_value(differences: Sequence[float], spread: float) -> float:
    """Return the largest E_n so far, 1 before the first difference; NaN if a difference is not finite."""
    d = np.asarray(differences, dtype=float)
    if not np.isfinite(d).all():
        return math.nan
    largest = float(e_process(d, spread).max(initial=0.0))
    return math.exp(largest) if largest < _OVERFLOW else math.inf


def direction(differences: Sequence[float], spread: float) -> int:
    """Return the side of zero where the evidence is strongest: 1, -1, or 0 if there is none."""
    d = np.asarray(differences, dtype=float)
    if not len(d) or not np.isfinite(d).all():
        return 0
    strongest = int(e_process(d, spread).argmax())
    upward, downward = (float(side[strongest]) for side in _one_sided(d, spread))
    return (upward > downward) - (upward < downward)


def confidence_sequence(differences: Sequence[float], spread: float, alpha: float = ALPHA) -> tuple[float, float]:
    """Return the ends of the set of centres that the e-process has never rejected.

    The set shrinks with every seed. It can become empty, with a probability of at most alpha if the differences are
    symmetric about one centre. Then the centres that E_n does not reject now are returned, which include the mean.

    Args:
        differences: Paired differences in the order of the seeds.
        spread: The expected standard deviation of a difference, fixed beforehand.
        alpha: One minus the coverage.

    Returns:
        (low, high), infinite while there are too few seeds, NaN if a difference is not finite.

    Example:
        >>> confidence_sequence([1.0, 1.2, 0.9], 0.5)
        (-inf, inf)
    """
    d = np.asarray(differences, dtype=float)
    if not np.isfinite(d).all():
        return math.nan, math.nan
    if (len(d) - 1) * math.log(2) < -math.log(alpha):  # E_n is at most 2^(n - 1)
        return -math.inf, math.inf
    return _ends(d, spread, alpha, running=True) or _ends(d, spread, alpha, running=False) or (math.nan, math.nan)


@lru_cache(maxsize=512)
def seeds_to_go(differences: tuple[float, ...], spread: float, delta: float, comparisons: int = 1) -> int | None:
    """Return the median number of further seeds until a verdict, if the trend continues.

    Simulates 101 continuations with normal differences that have the mean and standard deviation seen so far (with
    fewer than two differences the expected spread), until E_n reaches ``comparisons / alpha`` or the confidence
    sequence lies within plus or minus delta.

    Args:
        differences: Paired differences in the order of the seeds.
        spread: The expected standard deviation of a difference.
        delta: Bound of equivalence.
        comparisons: Number of arms that share the error rate.

    Returns:
        The number of seeds, 1 or more; None if it is more than 200 or a difference is not finite.
    """
    seen = np.asarray(differences, dtype=float)
    if not np.isfinite(seen).all():
        return None
    mean = float(seen.mean()) if len(seen) else 0.0
    std = float(seen.std(ddof=1)) if len(seen) > 1 else spread
    future = np.random.default_rng(0).normal(mean, std, (_FUTURES, MOST_SEEDS_AHEAD))
    whole = np.concatenate([np.broadcast_to(seen, (_FUTURES, len(seen))), future], axis=1)

    def ever(shift: float, level: float, *sides: int) -> NDArray[np.bool_]:
        upward, downward = _one_sided(whole - shift, spread)
        reached = np.logaddexp(upward, downward) - math.log(2) >= -math.log(level)
        reached &= np.isin(np.sign(upward - downward), sides)
        return np.logical_or.accumulate(reached, axis=1)[:, len(seen) :]

    told = ever(0.0, ALPHA / comparisons, 1, -1) | (ever(-delta, ALPHA, 1) & ever(delta, ALPHA, -1))
    waits = np.where(told.any(axis=1), told.argmax(axis=1) + 1, MOST_SEEDS_AHEAD + 1)
    median = int(np.median(waits))
    return median if median <= MOST_SEEDS_AHEAD else None


def _one_sided(d: NDArray[np.float64], spread: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the logarithms (..., n) of the mean over positive l, and of that over negative l."""
    x = d[..., None] * (2 * _FACTORS / spread)  # (..., n, l); exp(y) / cosh(y) = 2 / (1 + exp(-2 y))
    sides = [np.cumsum(math.log(2) - np.logaddexp(0.0, sign * x), axis=-2) for sign in (-1, 1)]
    upward, downward = (np.logaddexp.reduce(side, axis=-1) - math.log(len(_FACTORS)) for side in sides)
    return upward, downward


def _ends(d: NDArray[np.float64], spread: float, alpha: float, *, running: bool) -> tuple[float, float] | None:
    """Return the smallest and largest shift not rejected by E_n, or by its running maximum; None if there is none."""

    def kept(shifts: NDArray[np.float64]) -> NDArray[np.bool_]:
        log_e = e_process(d - shifts[:, None], spread)
        return (log_e.max(axis=1) if running else log_e[:, -1]) < -math.log(alpha)

    far = 20 * spread
    low, high = float(d.min()) - far, float(d.max()) + far
    count = min(_MOST_SHIFTS, int((high - low) / spread * 8) + 2)
    # The acceptance region narrows around the mean, so the mean is on the grid.
    grid = np.unique(np.append(np.linspace(low, high, count), d.mean()))
    inside = np.flatnonzero(kept(grid))
    if not len(inside):
        return None
    ends = []
    for place, step in ((int(inside[0]), -1), (int(inside[-1]), 1)):
        if not 0 <= place + step < len(grid):
            ends.append(step * math.inf)
            continue
        good, bad = float(grid[place]), float(grid[place + step])
        for _ in range(_HALVINGS):
            middle = (good + bad) / 2
            good, bad = (middle, bad) if kept(np.array([middle]))[0] else (good, middle)
        ends.append(good)
    return ends[0], ends[1]
