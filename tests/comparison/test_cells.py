import math

import numpy as np
import pytest
from scipy import stats

from saam.comparison.cells import mean_scores, summarise_cells
from saam.comparison.metrics import ACCURACY, LOSS

# Demsar 2006, table 6: AUC of C4.5 with and without tuning of its parameters m and cf, on 14 data sets. The paper ranks
# the two .975 of the 13th by digits that it does not print.
DEMSAR = [
    (0.763, 0.768, 0.771, 0.798),
    (0.599, 0.591, 0.59, 0.569),
    (0.954, 0.971, 0.968, 0.967),
    (0.628, 0.661, 0.654, 0.657),
    (0.882, 0.888, 0.886, 0.898),
    (0.936, 0.931, 0.916, 0.931),
    (0.661, 0.668, 0.609, 0.685),
    (0.583, 0.583, 0.563, 0.625),
    (0.775, 0.838, 0.866, 0.875),
    (1.0, 1.0, 1.0, 1.0),
    (0.94, 0.962, 0.965, 0.962),
    (0.619, 0.666, 0.614, 0.669),
    (0.972, 0.981, 0.9751, 0.975),
    (0.957, 0.978, 0.946, 0.97),
]
ARMS = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")


def demsar():
    cells = {str(place): dict(zip(ARMS, scores, strict=True)) for place, scores in enumerate(DEMSAR)}
    return summarise_cells(cells, metric=ACCURACY, reference="C4.5")


def test_ranks_and_tests_are_those_of_the_paper():
    summary = demsar()
    ranks = {each.arm: each.rank for each in summary.arms}
    assert ranks == pytest.approx({"C4.5": 3.143, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964}, abs=1e-3)
    assert [each.arm for each in summary.arms] == ["C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"]
    assert summary.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=2e-3)
    chi2 = stats.friedmanchisquare(*np.array(DEMSAR).T).statistic
    f = 13 * chi2 / (14 * 3 - chi2)  # Iman and Davenport's form, which fits for so many cells
    assert summary.p == pytest.approx(stats.f.sf(f, 3, 39), abs=0.005)
    assert 0.01 < summary.p < 0.05


def test_few_cells_that_agree_are_no_proof():
    """Of the 24 orders that a second cell of four arms may have, one is that of the first."""
    scores = {"none": 70.0, "wider": 71.0, "se": 72.0, "saam": 73.0}
    two = summarise_cells({"a": scores, "b": scores}, metric=ACCURACY, reference="none")
    assert two.p == pytest.approx(1 / 24, abs=0.006)
    pair = {str(cell): {"none": 70.0, "se": 71.0} for cell in range(2)}
    assert summarise_cells(pair, metric=ACCURACY, reference="none").p == pytest.approx(1 / 2, abs=0.02)


def test_differences_to_the_reference_over_cells():
    summary = demsar()
    tuned = next(each for each in summary.arms if each.arm == "C4.5+m")
    d = [scores[1] - scores[0] for scores in DEMSAR]
    assert tuned.mean == pytest.approx(np.mean(d))
    assert (tuned.low, tuned.high) == pytest.approx(stats.t.interval(0.95, 13, np.mean(d), stats.sem(d)))
    assert (tuned.wins, tuned.losses) == (sum(each > 0 for each in d), sum(each < 0 for each in d)) == (10, 2)


def test_a_loss_ranks_the_lowest_first():
    cells = {"a": {"none": 0.5, "se": 0.4}, "b": {"none": 0.3, "se": 0.2}}
    best = summarise_cells(cells, metric=LOSS, reference="none").arms[0]
    assert (best.arm, best.rank, best.wins, best.losses) == ("se", 1.0, 2, 0)


def test_cells_that_miss_an_arm_are_left_out_and_named():
    cells = {
        "a": {"none": 70.0, "se": 71.0},
        "b": {"none": 70.0},
        "c": {"none": 70.0, "se": math.nan},
        "d": {"none": 70.0, "se": 69.0},
    }
    summary = summarise_cells(cells, metric=ACCURACY, reference="none")
    assert (summary.cells, summary.left_out) == (("a", "d"), ("b", "c"))
    assert {each.arm: each.rank for each in summary.arms} == {"none": 1.5, "se": 1.5}
    assert summary.p == 1.0


def test_the_ends_of_the_friedman_test():
    agree = {str(cell): {"none": 70.0, "se": 71.0, "eca": 72.0} for cell in range(5)}
    assert summarise_cells(agree, metric=ACCURACY, reference="none").p == pytest.approx(6 / 6**5, abs=0.001)
    ties = {str(cell): {"none": 70.0, "se": 70.0} for cell in range(5)}
    assert summarise_cells(ties, metric=ACCURACY, reference="none").p == 1.0
    one = summarise_cells({"a": {"none": 70.0, "se": 71.0}}, metric=ACCURACY, reference="none")
    assert all(map(math.isnan, (one.p, one.critical_difference, one.arms[0].low)))
    none = summarise_cells({"a": {"none": 70.0}, "b": {"se": 71.0}}, metric=ACCURACY, reference="none")
    assert (none.arms, none.cells, none.left_out) == ((), (), ("a", "b"))


def test_a_cell_is_the_mean_over_the_seeds_of_all_arms(make_record):
    records = [make_record("none", seed, 80.0 + seed) for seed in range(3)]
    records += [make_record("se", seed, 90.0 + 2 * seed) for seed in (1, 2, 5)]
    assert mean_scores(records, ACCURACY) == {"none": 81.5, "se": 93.0}
    assert mean_scores([*records, make_record("eca", 9)], ACCURACY) == {}
    assert mean_scores([], ACCURACY) == {}


def test_what_cannot_be_summarised_is_refused():
    with pytest.raises(ValueError, match="one cell or more, got none"):
        summarise_cells({}, metric=ACCURACY, reference="none")
    with pytest.raises(ValueError, match=r"unknown reference arm 'non'.*none"):
        summarise_cells({"a": {"none": 1.0}}, metric=ACCURACY, reference="non")
