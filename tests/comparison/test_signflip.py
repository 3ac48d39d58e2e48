import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from saam.comparison.signflip import DRAWS, EXACT_SEEDS, detectable, holm, sign_flip, sign_flip_interval


def literal_sign_flip(differences):
    """Every sign pattern, one after the other."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(value >= observed - 1e-9 for value in sums) / len(sums)


# --- sign-flip test


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([], 1.0),
        ([0.7], 1.0),
        ([1, 1], 0.5),
        ([1, 2, 3], 0.25),
        ([1, 2, -3], 1.0),
        ([3, -1, 2], 0.5),  # |sums| 6 4 0 2, twice each; at least 4: four of eight
        ([0.0, 0.0, 0.0], 1.0),
        ([5, 5, 5, 5, 5, 5], 2 / 64),
        ([1, 1, 1, 1, 1, -1], 14 / 64),  # all alike, or one of six differs, and their opposites
    ],
)
def test_sign_flip_gives_the_hand_worked_p(differences, p):
    assert sign_flip(differences) == p


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=9))
def test_sign_flip_counts_every_pattern(values):
    differences = [value / 10 for value in values]  # tenths: sums that tie but for rounding must count as ties
    assert sign_flip(differences) == literal_sign_flip(differences)


def test_sign_flip_agrees_with_scipy():
    differences = np.random.default_rng(3).normal(0.4, 1.0, 11)
    expected = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip(differences) == pytest.approx(expected.pvalue, rel=1e-12)


def test_sign_flip_draws_signs_where_patterns_are_too_many():
    differences = np.random.default_rng(0).normal(0.3, 1.0, EXACT_SEEDS + 2)
    p = sign_flip(differences)
    assert p * (1 + DRAWS) == pytest.approx(round(p * (1 + DRAWS)))  # a share of the draws and the observed pattern
    normal = 2 * stats.norm.sf(abs(differences.sum()) / np.sqrt(np.square(differences).sum()))
    assert p == pytest.approx(normal, rel=0.1)
    assert 0.001 < p < 0.5


def test_sign_flip_of_scores_that_are_not_finite_is_nan():
    assert math.isnan(sign_flip([1.0, math.nan, 2.0]))


def test_sign_flip_rejects_true_nulls_as_often_as_it_says():
    draws = np.random.default_rng(5).normal(0.0, 1.0, (2000, 8))
    rate = np.mean([sign_flip(differences) < 0.05 for differences in draws])
    assert 0.03 < rate < 0.06  # the largest attainable level below .05 with 8 seeds is 12/256 = .047


# --- Holm


def test_holm_matches_the_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_never_passes_one_and_takes_nothing():
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_leaves_a_missing_p_missing_and_counts_it():
    corrected = holm([math.nan, 0.01])
    assert math.isnan(corrected[0])
    assert corrected[1] == pytest.approx(0.02)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.randoms())
def test_holm_follows_the_order_of_its_input(p_values, random):
    order = list(range(len(p_values)))
    random.shuffle(order)
    corrected = holm(p_values)
    assert holm([p_values[i] for i in order]) == [corrected[i] for i in order]
    assert all(after >= before for before, after in zip(p_values, corrected, strict=True))


# --- the interval


def literal_interval(differences):
    """Walk over shifts in small steps, and keep those that the literal test does not reject."""
    low, high = min(differences), max(differences)
    shifts = np.linspace(low - 0.01, high + 0.01, 1501)
    kept = [m for m in shifts if literal_sign_flip([d - m for d in differences]) >= 0.05]
    return kept[0], kept[-1]


@pytest.mark.parametrize("n", [6, 7, 8])
def test_the_interval_holds_what_the_test_does_not_reject(n):
    differences = list(np.random.default_rng(n).normal(0.3, 1.0, n).round(3))
    assert sign_flip_interval(differences) == pytest.approx(literal_interval(differences), abs=0.01)


@pytest.mark.parametrize("n", [6, 9, 12, EXACT_SEEDS, EXACT_SEEDS + 1, 30])
def test_interval_and_p_agree_at_both_ends(n):
    differences = np.random.default_rng(n).standard_t(3, n) + 0.4
    low, high = sign_flip_interval(differences)
    p = [sign_flip(differences - m) for m in (low - 1e-6, low + 1e-6, high - 1e-6, high + 1e-6)]
    finest = [0] if n == 6 else [0, 3]  # at six seeds the level .05 cannot be reached from outside
    assert all(p[place] < 0.05 for place in ([] if n == 6 else finest))
    assert min(p[1:3]) >= 0.05


def test_the_interval_of_six_is_all_of_them_and_of_five_has_no_ends():
    assert sign_flip_interval([0.3, -1.0, 2.0, 0.1, 0.5, 4.0]) == (-1.0, 4.0)
    assert sign_flip_interval([0.3, -1.0, 2.0, 0.1, 0.5]) == (-math.inf, math.inf)
    assert all(map(math.isnan, sign_flip_interval([0.3, math.nan] * 4)))


def test_the_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(8).standard_t(3, (1500, 9))
    ends = np.array([sign_flip_interval(d) for d in draws])
    covered = np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
    assert 0.935 < covered < 0.97


@given(st.lists(st.integers(-30, 30), min_size=6, max_size=8))
def test_the_interval_turns_with_the_sign(values):
    low, high = sign_flip_interval([value / 10 for value in values])
    assert sign_flip_interval([-value / 10 for value in values]) == pytest.approx((-high, -low))
    assert low - 1e-9 <= np.mean(values) / 10 <= high + 1e-9


def test_the_detectable_difference_is_that_of_a_paired_t_test():
    assert detectable(6) == pytest.approx(1.4345, abs=1e-4)  # G*Power: paired t, two-sided, n = 6
    found = stats.ttest_1samp(np.random.default_rng(2).normal(detectable(6), 1.0, (20_000, 6)), 0.0, axis=1)
    assert (found.pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.012)
