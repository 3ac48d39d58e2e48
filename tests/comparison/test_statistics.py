import math

import numpy as np
import pytest
from scipy import stats

from saam.comparison.anytime import confidence_sequence, e_value, seeds_to_go
from saam.comparison.metrics import ACCURACY, LOSS, Metric
from saam.comparison.signflip import sign_flip_interval
from saam.comparison.statistics import holm, seeds_needed, sign_flip, summarise, undecided


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
    assert (arm.arm, arm.metric, arm.n, arm.mean) == ("none", ACCURACY, 3, 43.0)
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


@pytest.mark.parametrize("value", [0.0, 0.1, -2.5])
def test_equal_differences_have_an_interval_of_no_width(make_record, value):
    records = [make_record("none", seed, 80.0 + 0.3 * seed) for seed in range(7)]
    records += [make_record("se", seed, 80.0 + 0.3 * seed + value) for seed in range(7)]
    (difference,) = summarise(records, reference="none").differences
    assert (difference.mean, difference.low, difference.high) == pytest.approx((value, value, value))
    assert difference.minimum_detectable == pytest.approx(0.0, abs=1e-12)


def test_too_few_pairs_have_no_interval_and_no_verdict(make_record):
    records = [make_record("none", 0, 80.0), make_record("se", 0, 81.0), make_record("eca", 1, 81.0)]
    one, nothing = summarise(records, reference="none").differences
    assert (one.n, one.mean, one.p, one.verdict) == (1, 1.0, 1.0, "cannot tell yet")
    assert (one.low, one.high) == (one.evidence.low, one.evidence.high) == (-math.inf, math.inf)
    assert math.isnan(one.minimum_detectable)
    assert math.isnan(one.ahead)
    assert (nothing.n, nothing.p, nothing.verdict, nothing.values) == (0, 1.0, "cannot tell yet", {})
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
    d = [1.5, 2.0, 1.2, 1.7, 1.4, 1.9]
    opposite = {"better": "worse", "worse": "better"}[verdict]
    assert difference_of(d, metric).verdict == verdict
    assert difference_of([-value for value in d], metric).verdict == opposite


def test_five_seeds_cannot_tell_however_clear(difference_of):
    assert difference_of([9.0, 9.5, 9.1, 9.2, 9.9]).verdict == "cannot tell yet"


def test_the_verdict_rests_on_the_corrected_p(records_of):
    base = [80.0, 80.5, 81.0, 80.2, 80.7, 80.1]
    better = [value + 3 + value % 1 for value in base]
    alone = summarise(records_of(none=base, se=better), reference="none")
    assert [d.verdict for d in alone.differences] == ["better"]
    assert alone.differences[0].p_holm == pytest.approx(2 / 64)
    assert alone.notes == ()
    among = summarise(records_of(none=base, se=better, eca=base[::-1]), reference="none")
    assert [d.verdict for d in among.differences] == ["cannot tell yet", "cannot tell yet"]
    assert among.differences[0].p == pytest.approx(2 / 64)
    assert among.differences[0].p_holm == pytest.approx(4 / 64)
    assert among.notes == (
        "6 seeds cannot tell anything in 2 comparisons, however large the difference; it takes 7 or more.",
    )


def test_one_seed_is_singular_and_none_says_nothing(make_record):
    records = [make_record("none", 0), make_record("se", 0, 91.0)]
    (note,) = summarise(records, reference="none").notes
    assert note.startswith("1 seed cannot tell anything in 1 comparison,")
    assert summarise([records[0], make_record("se", 1)], reference="none").notes == ()


def test_swapping_arm_and_reference_turns_the_signs(records_of):
    rng = np.random.default_rng(4)
    base, arm = rng.normal(80, 1, 9), rng.normal(83, 1, 9)
    records = records_of(none=list(base), se=list(arm))
    (forward,) = summarise(records, reference="none").differences
    (backward,) = summarise(records, reference="se").differences
    assert backward.mean == pytest.approx(-forward.mean)
    assert (backward.p, backward.p_holm) == (forward.p, forward.p_holm)
    assert backward.minimum_detectable == pytest.approx(forward.minimum_detectable)
    assert (backward.low, backward.high) == pytest.approx((-forward.high, -forward.low))
    ends = (-forward.evidence.high, -forward.evidence.low)
    assert (backward.evidence.low, backward.evidence.high) == pytest.approx(ends)
    assert backward.ahead == pytest.approx(1 - forward.ahead)
    assert backward.evidence.e == pytest.approx(forward.evidence.e)
    assert {forward.verdict, backward.verdict} == {"better", "worse"}


def test_a_diverged_run_leaves_its_arm_without_a_verdict(records_of):
    base = [0.3, 0.4, 0.5, 0.3, 0.4, 0.6]
    records = records_of(
        "loss", none=base, se=[*base[:5], math.nan], eca=[value - 0.1 - value**2 / 9 for value in base]
    )
    diverged, sound = summarise(records, reference="none", metric="loss").differences
    assert all(math.isnan(value) for value in (diverged.mean, diverged.low, diverged.p, diverged.p_holm))
    assert math.isnan(diverged.evidence.e)
    assert math.isnan(diverged.ahead)
    assert diverged.evidence.more_seeds is None
    assert diverged.verdict == "cannot tell yet"
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
    with pytest.raises(ValueError, match="unknown metric 'iou'"):
        summarise(records, reference="none", metric=Metric("iou", "higher", spread=1.0, delta=1.0))


# --- the anytime-valid verdict


def test_the_evidence_is_that_of_the_differences_in_the_order_of_the_seeds(make_record):
    d = {0: 0.9, 1: 0.4, 2: 1.3, 3: 0.8, 4: 1.1, 5: 0.2, 6: -0.7}
    records = [make_record("none", seed, 80.0) for seed in reversed(d)]
    records += [make_record("se", seed, 80.0 + d[seed]) for seed in (4, 0, 6, 2, 1, 5, 3)]
    (difference,) = summarise(records, reference="none").differences
    values = list(d.values())
    assert list(difference.values) == list(d)
    assert difference.evidence.e == pytest.approx(e_value(values, ACCURACY.spread))
    assert difference.evidence.e != pytest.approx(e_value(sorted(values), ACCURACY.spread))
    assert difference.evidence.p_holm == pytest.approx(1 / difference.evidence.e)
    ends = (difference.evidence.low, difference.evidence.high)
    assert ends == pytest.approx(confidence_sequence(values, ACCURACY.spread))
    assert (difference.low, difference.high) == pytest.approx(sign_flip_interval(values))
    rounded = tuple(difference.values.values())
    assert difference.evidence.more_seeds == seeds_to_go(rounded, ACCURACY.spread, ACCURACY.delta)


def test_small_differences_that_agree_are_equivalent(difference_of):
    d = [0.05, -0.04, 0.02, -0.03, 0.01, 0.06, -0.05, 0.03]
    told = difference_of(d)
    assert told.verdict == "equivalent"
    assert -0.5 <= told.evidence.low < told.evidence.high <= 0.5
    assert told.evidence.more_seeds == 0
    assert difference_of([20 * value for value in d]).verdict == "cannot tell yet"


@pytest.mark.parametrize(("step", "verdict"), [(0.0, "cannot tell yet"), (0.6, "cannot tell yet"), (0.4, "equivalent")])
def test_ties_show_nothing_if_one_image_weighs_more_than_the_bound_of_equivalence(records_of, step, verdict):
    scores = [80 + step * (seed % 3) for seed in range(8)]
    records = records_of(none=scores, se=scores)
    told = summarise(records, reference="none")
    assert told.differences[0].verdict == verdict
    assert (told.differences[0].evidence.more_seeds == 0) == (verdict == "equivalent")
    assert ("no two arms can be called equivalent" in "".join(told.notes)) == (verdict != "equivalent")
    better = records_of(none=scores, se=[score + 20 for score in scores])
    assert summarise(better, reference="none").differences[0].verdict == "better"


def test_equivalence_asks_for_both_ends(difference_of):
    one_sided = difference_of([0.3, 0.45, 0.35, 0.5, 0.25, 0.4, -0.4])
    assert one_sided.evidence.low > -0.5
    assert one_sided.evidence.high > 0.5
    assert one_sided.verdict == "cannot tell yet"
    assert difference_of([-value for value in one_sided.values.values()]).verdict == "cannot tell yet"


def test_evidence_against_the_mean_is_no_verdict(difference_of):
    """Seven gains and one crash: the process has seen a gain, the mean says loss."""
    d = [1.0, 1.1, 0.9, 1.2, 1.0, 0.8, 1.1, -60.0]
    difference = difference_of(d)
    assert difference.evidence.p_holm < 0.05
    assert difference.mean < 0
    assert difference.verdict == "cannot tell yet"


def test_a_verdict_stays_when_a_later_seed_says_otherwise(difference_of):
    d = [1.0, 1.1, 0.9, 1.2, 1.0, 0.8]
    assert difference_of(d).verdict == "better"
    assert difference_of([*d, -0.9, -0.8]).verdict == "better"


@pytest.mark.parametrize(("metric", "sign"), [("accuracy", 1), ("loss", -1)])
def test_the_chance_to_be_ahead_on_a_new_seed(difference_of, metric, sign):
    rng = np.random.default_rng(3)
    d = np.array([0.2, 1.9, -0.6])
    new = d.mean() + d.std(ddof=1) * math.sqrt(1 + 1 / 3) * rng.standard_t(2, 200_000)
    assert difference_of(list(d), metric).ahead == pytest.approx((sign * new > 0).mean(), abs=0.005)
    assert difference_of([1.0, 1.0], metric).ahead == (1 + sign) / 2
    assert difference_of([0.0, 0.0], metric).ahead == 0.5


@pytest.mark.parametrize(("better", "verdict"), [("higher", "better"), ("lower", "worse")])
def test_a_metric_of_ones_own(make_record, better, verdict):
    def run(arm, seed, iou):
        return make_record(arm, seed, test={"iou": iou})

    records = [run("none", seed, 0.50) for seed in range(6)] + [run("se", seed, 0.53) for seed in range(6)]
    metric = Metric("iou", better, spread=0.01, delta=0.01, high=1.0)
    summary = summarise(records, reference="none", metric=metric)
    assert summary.differences[0].verdict == verdict
    assert summary.differences[0].mean == pytest.approx(0.03)
    assert summary.metric is metric


def test_arms_without_a_verdict_need_seeds(records_of, make_record):
    base = [80.0, 80.5, 81.0, 80.2, 80.7, 80.1, 80.4, 80.9]
    records = records_of(
        none=base,
        se=[value + 3 for value in base],
        eca=[value + 0.2 + 0.6 * (-1) ** place for place, value in enumerate(base)],
        saam=base,
    )
    assert undecided(records, "none", [ACCURACY]) == ("eca",)
    assert undecided([*records, make_record("gc", 9)], "none", [ACCURACY]) == ("eca", "gc")
    loss = [
        make_record(arm, seed, 80.0 + seed / 10, 0.3 + 0.05 * (seed % 2) * (arm == "se"))
        for arm in ("none", "se")
        for seed in range(7)
    ]
    assert undecided(loss, "none", [ACCURACY]) == ()
    assert undecided(loss, "none", [ACCURACY, LOSS]) == ("se",)
    assert undecided(records[:8], "none", [ACCURACY]) == ()


def test_seeds_do_not_help_a_diverged_arm(make_record):
    records = [make_record("none", seed) for seed in (0, 1)] + [
        make_record("se", seed, 80.0, math.nan) for seed in (0, 1)
    ]
    assert undecided(records, "none", [LOSS]) == ()
    assert undecided(records, "none", [ACCURACY]) == ("se",)


def test_a_diverged_arm_has_no_anytime_p(make_record):
    records = [make_record(arm, seed, 90.0 + seed + (arm == "se")) for arm in ("none", "se") for seed in range(3)]
    records += [make_record("eca", seed, math.nan if seed == 1 else 91.0) for seed in range(3)]
    se, eca = summarise(records, reference="none").differences
    assert math.isnan(eca.evidence.p_holm)
    assert se.evidence.p_holm <= 1
