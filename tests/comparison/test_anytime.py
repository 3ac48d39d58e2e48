import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saam.comparison.anytime import confidence_sequence, direction, e_process, e_value, seeds_to_go

FACTORS = (0.25, 0.5, 1, 2, 4)


def literal_e(differences, spread):
    """E_n as the formula has it, in plain numbers."""
    total = 0.0
    for factor in (*FACTORS, *(-factor for factor in FACTORS)):
        rate, product = factor / spread, 1.0
        for d in differences:
            product *= math.exp(rate * d) / math.cosh(rate * d)
        total += product
    return total / 10


@given(st.lists(st.floats(-4, 4), min_size=1, max_size=12), st.floats(0.3, 3))
def test_the_process_is_the_formula(differences, spread):
    expected = [literal_e(differences[:n], spread) for n in range(1, len(differences) + 1)]
    assert np.exp(e_process(differences, spread)) == pytest.approx(expected, rel=1e-9)
    assert e_value(differences, spread) == pytest.approx(max(1.0, *expected), rel=1e-9)


def test_many_differences_do_not_overflow():
    log_e = e_process(np.full(3000, 50.0), 0.5)
    assert np.isfinite(log_e).all()
    assert log_e[-1] == pytest.approx(2999 * math.log(2))
    assert e_process(np.ones((3, 2, 7)), 1.0).shape == (3, 2, 7)


def test_the_expectation_under_the_null_is_one():
    """Every sign pattern of given sizes, with equal weight: the mean of E_n is exactly 1."""
    sizes = np.array([0.1, 2.0, 0.7, 0.7, 30.0, 1e-6])
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T
    assert np.exp(e_process(signs * sizes, 0.5)).mean(axis=0) == pytest.approx(np.ones(6))


def test_a_null_is_seldom_called_however_often_one_looks():
    rng = np.random.default_rng(0)
    for draws in (rng.normal(0, 1, (4000, 40)), rng.standard_t(1.5, (4000, 40)), rng.normal(0, 3, (4000, 40))):
        ever = (e_process(draws, 1.0) >= math.log(20)).any(axis=1).mean()
        assert 0.002 < ever < 0.05


def test_a_true_effect_is_told_as_fast_as_promised():
    rng = np.random.default_rng(1)
    for effect, median in ((1.0, 11), (1.5, 7), (2.0, 6)):
        told = e_process(rng.normal(effect, 1.0, (4000, 60)), 1.0) >= math.log(20)
        assert np.median(told.argmax(axis=1) + 1) == median


def test_evidence_has_a_side():
    assert direction([1.0, 0.5, -0.2], 0.5) == 1
    assert direction([-1.0, -0.5, 0.2], 0.5) == -1
    assert direction([1.0, 1.1, 0.9, -60.0], 0.5) == 1  # one wild seed does not turn it
    assert direction([], 0.5) == direction([0.0, 0.0], 0.5) == direction([math.nan], 0.5) == 0


def test_what_is_not_finite_is_no_evidence():
    assert e_value([], 1.0) == 1.0
    assert math.isnan(e_value([1.0, math.nan], 1.0))
    assert all(map(math.isnan, confidence_sequence([1.0, math.inf], 1.0)))
    assert seeds_to_go((1.0, math.nan), 1.0, 1.0) is None


# --- the confidence sequence


def literal_sequence(differences, spread):
    """All shifts of a fine grid that no prefix rejects."""
    shifts = np.linspace(min(differences) - 8 * spread, max(differences) + 8 * spread, 3001)
    kept = [
        m
        for m in shifts
        if all(literal_e([d - m for d in differences[:n]], spread) < 20 for n in range(1, len(differences) + 1))
    ]
    return kept[0], kept[-1], shifts[1] - shifts[0]


@pytest.mark.parametrize("n", [6, 9, 14])
@pytest.mark.parametrize("real", [0.2, 1.0, 3.0])
def test_the_sequence_holds_what_was_never_rejected(n, real):
    d = list(np.random.default_rng(n).normal(0.4, real, n))
    low, high, step = literal_sequence(d, 1.0)
    assert confidence_sequence(d, 1.0) == pytest.approx((low, high), abs=1.01 * step)


def test_the_sequence_has_no_ends_before_six_seeds_and_only_shrinks():
    d = list(np.random.default_rng(5).normal(0.4, 1.0, 25))
    assert confidence_sequence(d[:5], 1.0) == (-math.inf, math.inf)
    assert confidence_sequence([], 1.0) == (-math.inf, math.inf)
    ends = np.array([confidence_sequence(d[:n], 1.0) for n in range(6, 26)])
    assert np.isfinite(ends[1:]).all()
    assert (np.diff(ends[:, 0]) >= -1e-9).all()
    assert (np.diff(ends[:, 1]) <= 1e-9).all()
    wider = confidence_sequence(d, 1.0, alpha=0.01)
    assert wider[0] < ends[-1, 0] < ends[-1, 1] < wider[1]


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=10), st.floats(-50, 50))
def test_the_sequence_moves_with_a_shift(differences, shift):
    low, high = confidence_sequence(differences, 1.0)
    moved = confidence_sequence([d + shift for d in differences], 1.0)
    assert moved == pytest.approx((low + shift, high + shift), abs=1e-6)


def test_a_sequence_that_became_empty_gives_the_centres_of_now():
    low, high = confidence_sequence([-5.0] * 8 + [5.0] * 20, 1.0)
    mean = (20 - 8) * 5 / 28
    assert low < mean < high
    assert confidence_sequence([-5.0] * 8, 1.0)[1] < low  # which the first eight rule out


def test_one_end_stays_open_where_one_side_has_no_evidence():
    low, high = confidence_sequence([0.0] * 6, 1.0)
    assert -2 < low < 0 < high < 2


# --- the forecast


def test_the_forecast_is_the_median_wait():
    seen = (0.4, 1.9, 0.9, 0.1)
    rng = np.random.default_rng(9)
    waits = []
    for _ in range(1500):
        future = rng.normal(np.mean(seen), np.std(seen, ddof=1), 120)
        told = e_process([*seen, *future], 1.0) >= math.log(3 / 0.05)
        waits.append(int(told[4:].argmax()) + 1)
    assert seeds_to_go(seen, 1.0, 1e-6, comparisons=3) == pytest.approx(np.median(waits), abs=2)


def test_the_forecast_knows_equivalence_arms_and_hopeless_cases():
    near = (0.3, -0.3, 0.2, -0.2)
    assert seeds_to_go(near, 1.0, 1.0) < seeds_to_go(near, 1.0, 0.5) < 30
    assert seeds_to_go((1.0, -1.0, 1.1, -1.1), 1.0, 0.01) is None
    clear = (2.0, 1.5, 2.5, 2.0)
    assert seeds_to_go(clear, 1.0, 0.01, comparisons=1) == 2
    assert seeds_to_go(clear, 1.0, 0.01, comparisons=6) == 5  # E_8 is at most 2^7 = 128, and must be 120
    assert seeds_to_go((), 1.0, 1.0) == seeds_to_go((), 1.0, 1.0) > 5  # the expected spread stands in


def test_overwhelming_evidence_is_infinite_and_no_error():
    assert e_value([1.0] * 1100, 0.5) == math.inf
