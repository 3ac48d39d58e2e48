"""Statistics for a fixed number of seeds: the sign-flip test, its interval, Holm's correction, and power.

Under the null, the difference of a seed has either sign with equal probability, so all patterns of signs are equally
likely. The test counts the patterns whose sum is at least as far from zero as the observed one (Fisher, The Design of
Experiments, 1935). Its interval contains all shifts that the test does not reject, so the two always agree. The ends of
the interval are means of subsets of the differences (Hartigan, Using subsample values as typical values, JASA 1969).
Both are exact for differences that are symmetric about their centre, whatever their distribution. With n seeds the
smallest p is 2 / 2^n, so a 95 % interval is bounded from six seeds on.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["EXACT_SEEDS", "detectable", "holm", "sign_flip", "sign_flip_interval"]

ALPHA = 0.05
POWER = 0.8
EXACT_SEEDS = 20  # above, signs are drawn at random
DRAWS = 99_999  # random sign patterns


def sign_flip(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of the mean of paired differences under random signs.

    p is the share of the 2^n sign patterns whose sum is at least as far from zero as the observed one. Up to 20
    differences, all patterns are counted (a binary search matches the sums of one half with those of the other). Above
    that, p is estimated from 99,999 random patterns and the observed one. Without differences p is 1; with a NaN it is
    NaN.

    Example:
        >>> sign_flip([1, 2, 3, 4, 5, 6])
        0.03125
    """
    return _sign_flip(tuple(differences))


@lru_cache(maxsize=512)  # a live view asks again and again
def _sign_flip(differences: tuple[float, ...]) -> float:
    d = np.asarray(differences, dtype=float)
    if not np.isfinite(d).all():
        return math.nan
    threshold = abs(d.sum()) - 1e-9 * np.abs(d).sum()  # sums that differ only by rounding count as equal
    if len(d) <= EXACT_SEEDS:
        first, second = _signed_sums(d[::2]), np.sort(_signed_sums(d[1::2]))
        above = len(second) - np.searchsorted(second, threshold - first)
        below = np.searchsorted(second, -threshold - first)
        extreme = int(np.sum(above) + np.sum(below)) if threshold > 0 else 1 << len(d)
        return extreme / (1 << len(d))
    return (1 + int(np.sum(np.abs(_random_signs(len(d)) @ d) >= threshold))) / (1 + DRAWS)


def sign_flip_interval(differences: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the shifts m for which `sign_flip` of ``differences - m`` is .05 or more.

    A shift below the mean is rejected if few subsets of the differences have a mean below it. So the lower end is the
    k-th smallest mean of a subset, where k follows from the level.

    Returns:
        (low, high); infinite with fewer than six differences, NaN if one is not finite.

    Example:
        >>> sign_flip_interval([1, 2, 3, 4, 5, 6])
        (1.0, 6.0)
    """
    return _sign_flip_interval(tuple(differences))


@lru_cache(maxsize=512)
def _sign_flip_interval(differences: tuple[float, ...]) -> tuple[float, float]:
    d = np.asarray(differences, dtype=float)
    if not np.isfinite(d).all():
        return math.nan, math.nan
    if len(d) <= EXACT_SEEDS:  # count one of each pattern and its opposite
        sums, sizes, place = _sums(d), _sums(np.ones(len(d))), math.ceil(ALPHA * 2 ** len(d) / 2) - 2
    else:
        flipped = (1 - _random_signs(len(d))) / 2
        subsets = np.concatenate([flipped, 1 - flipped])
        sums, sizes, place = subsets @ d, subsets.sum(axis=1), math.ceil(ALPHA * (1 + DRAWS)) - 2
    if place < 0:
        return -math.inf, math.inf
    means = sums[sizes > 0] / sizes[sizes > 0]  # the empty subset has no mean
    ends = np.partition(means, [place, len(means) - 1 - place])
    return float(ends[place]), float(ends[len(means) - 1 - place])


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values after Holm's step-down correction, in the given order.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 1979.

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


@lru_cache
def detectable(n: int) -> float:
    """Return the true difference, in standard deviations, that a paired t-test of n pairs at .05 finds with power .8.

    Args:
        n: Two or more.
    """
    from scipy import optimize, stats  # here, for the workers of a comparison need none of it

    critical = stats.t.ppf(1 - ALPHA / 2, n - 1)
    # The other tail of the noncentral t is below 1e-4 here and is ignored.
    shift = optimize.brentq(lambda shift: stats.nct.sf(critical, n - 1, shift) - POWER, 0.0, 30.0)
    return float(shift) / math.sqrt(n)


def _signed_sums(d: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return all 2^n sums of +-d."""
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate((sums + value, sums - value))
    return sums


def _sums(d: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of all 2^n subsets."""
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate((sums, sums + value))
    return sums


def _random_signs(n: int) -> NDArray[np.float64]:
    """Return (DRAWS, n) of +-1, the same at every call."""
    draws = np.random.default_rng(0).integers(0, 2, (DRAWS, n), dtype=np.int8)
    return np.where(draws == 1, 1.0, -1.0)
