import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from saam.comparison.statistics import DRAWS, EXACT_SEEDS, holm, seeds_needed, sign_flip, summarise


@pytest.fixture
def records_of(make_record):
    """Records of arms given as lists of scores, one for each seed from 0."""

    def build(metric="accuracy", **arms):
        return [
            make_record(arm, seed, **{metric: value})
            for arm, values in arms.items()
            for seed, value in enumerate(values)
        ]

    return build


@pytest.fixture
def difference_of(records_of):
    """The difference of an arm that scores ``d`` above a reference with varying scores."""

    def build(d, metric="accuracy"):
        base = [float(2 + seed % 3) for seed in range(len(d))]
        arm = [value + extra for value, extra in zip(base, d, strict=True)]
        return summarise(records_of(metric, none=base, se=arm), reference="none", metric=metric).differences[0]

    return build


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
    assert 0.01 < p < 0.3


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


@pytest.mark.parametrize(("comparisons", "seeds"), [(1, 6), (2, 7), (3, 7), (4, 8), (6, 8), (7, 9)])
def test_seeds_needed_is_the_first_number_that_can_reach_the_level(comparisons, seeds):
    assert seeds_needed(comparisons) == seeds
    best = [1.0] * seeds
    assert holm([sign_flip(best)] + [1.0] * (comparisons - 1))[0] < 0.05
    if seeds > 6:
        assert holm([sign_flip(best[1:])] + [1.0] * (comparisons - 1))[0] >= 0.05


# --- arms


def test_an_arm_has_mean_sample_deviation_and_t_interval(records_of):
    (arm,) = summarise(records_of(none=[41.0, 42.0, 46.0]), reference="none").arms
    assert (arm.arm, arm.metric, arm.n, arm.mean) == ("none", "accuracy", 3, 43.0)
    assert arm.std == pytest.approx(math.sqrt(7))
    assert (arm.low, arm.high) == pytest.approx(stats.t.interval(0.95, 2, 43.0, math.sqrt(7 / 3)))
    assert arm.values == {0: 41.0, 1: 42.0, 2: 46.0}


@pytest.mark.parametrize(
    ("metric", "values", "low", "high"),
    [
        ("accuracy", [20.0, 60.0], 0.0, 100.0),
        ("accuracy", [97.0, 99.0, 99.5], 95.2, 100.0),
        ("loss", [0.1, 0.9], 0.0, 5.58),
        ("loss", [90.0, 210.0], 0.0, 912.4),  # a loss has no upper end
    ],
)
def test_intervals_of_means_hold_possible_scores_only(records_of, metric, values, low, high):
    (arm,) = summarise(records_of(metric, none=values), reference="none", metric=metric).arms
    assert (arm.low, arm.high) == pytest.approx((low, high), abs=0.1)


def test_one_run_has_no_spread(records_of):
    (arm,) = summarise(records_of(none=[5.0]), reference="none").arms
    assert arm.mean == 5.0
    assert all(math.isnan(value) for value in (arm.std, arm.low, arm.high))


def test_arms_keep_the_order_of_the_records_and_values_that_of_the_seeds(make_record):
    records = [make_record("se", 2), make_record("none", 1), make_record("se", 0), make_record("none", 0)]
    summary = summarise(records, reference="none")
    assert [arm.arm for arm in summary.arms] == ["se", "none"]
    assert list(summary.arms[0].values) == [0, 2]


# --- differences


def test_differences_are_paired_by_seed(make_record):
    records = [make_record("none", seed, 80.0 + seed) for seed in (0, 1, 2, 5)]
    records += [make_record("se", seed, 81.0 + 3 * seed) for seed in (5, 1, 3)]
    (difference,) = summarise(records, reference="none").differences
    assert difference.values == {1: 3.0, 5: 11.0}
    assert (difference.n, difference.mean, difference.p) == (2, 7.0, 0.5)


def test_the_interval_is_efrons_bca(difference_of):
    d = np.array([0.2, 1.9, 0.4, -0.3, 3.1, 0.8, 0.1, 5.0])
    rng = np.random.default_rng(11)
    means = rng.choice(d, (200_000, len(d))).mean(1)
    bias = stats.norm.ppf(np.mean(means < d.mean()))
    jackknife = (d.sum() - d) / (len(d) - 1)
    centred = jackknife.mean() - jackknife
    acceleration = (centred**3).sum() / (6 * (centred**2).sum() ** 1.5)
    z = stats.norm.ppf([0.025, 0.975])
    levels = stats.norm.cdf(bias + (bias + z) / (1 - acceleration * (bias + z)))
    expected = np.quantile(means, levels)
    difference = difference_of(d)
    assert (difference.low, difference.high) == pytest.approx(tuple(expected), abs=0.06)
    percentile = np.quantile(means, [0.025, 0.975])
    assert difference.high - percentile[1] > 0.2  # skewed: the plain percentile interval is another


def test_the_interval_is_the_same_at_every_call(difference_of):
    d = np.random.default_rng(1).normal(0.3, 1.0, 7)
    assert difference_of(d) == difference_of(d)


@pytest.mark.parametrize("value", [0.0, 0.1, -2.5])
def test_equal_differences_have_an_interval_of_no_width(make_record, value):
    records = [make_record("none", seed, 80.0 + 0.3 * seed) for seed in range(7)]
    records += [make_record("se", seed, 80.0 + 0.3 * seed + value) for seed in range(7)]
    (difference,) = summarise(records, reference="none").differences
    assert (difference.mean, difference.low, difference.high) == pytest.approx((value, value, value))
    assert difference.minimum_detectable == pytest.approx(0.0, abs=1e-12)


@given(st.lists(st.integers(-3, 3), min_size=5, max_size=7))
def test_the_interval_lies_within_the_differences(values):
    from saam.comparison.statistics import _interval

    low, high = _interval(np.array(values) / 10)
    assert min(values) / 10 - 1e-9 <= low <= high <= max(values) / 10 + 1e-9


@pytest.mark.parametrize(("pairs", "finite"), [(2, False), (3, False), (4, False), (5, True)])
def test_fewer_than_five_pairs_have_no_interval(difference_of, pairs, finite):
    difference = difference_of([0.5, 1.0, 0.2, 0.7, 0.4][:pairs])
    assert math.isfinite(difference.mean)
    assert [math.isfinite(end) for end in (difference.low, difference.high)] == [finite, finite]


def test_too_few_pairs_have_no_interval_and_no_verdict(make_record):
    records = [make_record("none", 0, 80.0), make_record("se", 0, 81.0), make_record("eca", 1, 81.0)]
    one, nothing = summarise(records, reference="none").differences
    assert (one.n, one.mean, one.p, one.verdict) == (1, 1.0, 1.0, "cannot tell")
    assert math.isnan(one.low)
    assert math.isnan(one.minimum_detectable)
    assert (nothing.n, nothing.p, nothing.verdict, nothing.values) == (0, 1.0, "cannot tell", {})
    assert math.isnan(nothing.mean)


def test_the_minimum_detectable_effect_has_the_power_it_promises(difference_of):
    rng = np.random.default_rng(2)
    d = rng.normal(0.0, 1.0, 6)
    effect = difference_of(d).minimum_detectable / d.std(ddof=1)
    assert effect == pytest.approx(1.4345, abs=1e-4)  # G*Power: paired t, two-sided, n = 6
    found = stats.ttest_1samp(rng.normal(effect, 1.0, (20_000, 6)), 0.0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.012)


@pytest.mark.parametrize(("metric", "verdict"), [("accuracy", "better"), ("loss", "worse")])
def test_the_verdict_knows_which_way_is_good(difference_of, metric, verdict):
    d = [0.5, 1.0, 0.2, 0.7, 0.4, 0.9]
    opposite = {"better": "worse", "worse": "better"}[verdict]
    assert difference_of(d, metric).verdict == verdict
    assert difference_of([-value for value in d], metric).verdict == opposite


def test_five_seeds_cannot_tell_however_clear(difference_of):
    assert difference_of([9.0, 9.5, 9.1, 9.2, 9.9]).verdict == "cannot tell"


def test_the_verdict_rests_on_the_corrected_p(records_of):
    base = [80.0, 80.5, 81.0, 80.2, 80.7, 80.1]
    better = [value + 1 + value % 1 for value in base]
    alone = summarise(records_of(none=base, se=better), reference="none")
    assert [d.verdict for d in alone.differences] == ["better"]
    assert alone.differences[0].p_holm == pytest.approx(2 / 64)
    assert alone.notes == ()
    among = summarise(records_of(none=base, se=better, eca=base[::-1]), reference="none")
    assert [d.verdict for d in among.differences] == ["cannot tell", "cannot tell"]
    assert among.differences[0].p == pytest.approx(2 / 64)
    assert among.differences[0].p_holm == pytest.approx(4 / 64)
    assert among.notes == (
        "With 6 seeds and 2 comparisons no corrected p can fall below 0.0625: these runs cannot tell; 7 seeds could.",
    )


def test_one_seed_is_singular_and_none_says_nothing(make_record):
    records = [make_record("none", 0), make_record("se", 0, 91.0)]
    (note,) = summarise(records, reference="none").notes
    assert note.startswith("With 1 seed and 1 comparison no corrected p")
    assert summarise([records[0], make_record("se", 1)], reference="none").notes == ()


def test_swapping_arm_and_reference_turns_the_signs(records_of):
    rng = np.random.default_rng(4)
    base, arm = rng.normal(80, 1, 9), rng.normal(81.5, 1, 9)
    records = records_of(none=list(base), se=list(arm))
    (forward,) = summarise(records, reference="none").differences
    (backward,) = summarise(records, reference="se").differences
    assert backward.mean == pytest.approx(-forward.mean)
    assert (backward.p, backward.p_holm) == (forward.p, forward.p_holm)
    assert backward.minimum_detectable == pytest.approx(forward.minimum_detectable)
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low), abs=0.05)  # other resamples
    assert {forward.verdict, backward.verdict} == {"better", "worse"}


def test_a_diverged_run_leaves_its_arm_without_a_verdict(records_of):
    base = [0.3, 0.4, 0.5, 0.3, 0.4, 0.6]
    records = records_of(
        "loss", none=base, se=[*base[:5], math.nan], eca=[value - 0.1 - value**2 / 9 for value in base]
    )
    diverged, sound = summarise(records, reference="none", metric="loss").differences
    assert all(math.isnan(value) for value in (diverged.mean, diverged.low, diverged.p, diverged.p_holm))
    assert diverged.verdict == "cannot tell"
    assert sound.p_holm == pytest.approx(4 / 64)


def test_metrics_are_not_mixed(make_record):
    records = [make_record(arm, seed, 80.0 + seed, 0.5 - seed / 10) for arm in ("none", "se") for seed in (0, 1)]
    assert summarise(records, reference="none", metric="loss").arms[0].values == {0: 0.5, 1: 0.4}
    assert summarise(records, reference="none").arms[0].values == {0: 80.0, 1: 81.0}


def test_what_cannot_be_summarised_is_refused(make_record):
    records = [make_record("none", 0), make_record("se", 0)]
    with pytest.raises(ValueError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        summarise(records, reference="none", metric="acuracy")
    with pytest.raises(ValueError, match=r"unknown reference arm 'eca'.*none, se"):
        summarise(records, reference="eca")
    with pytest.raises(ValueError, match="two records of arm 'se' with seed 0"):
        summarise([*records, make_record("se", 0)], reference="none")
