from dataclasses import replace

import pytest

from report.fakes import comparison, first, plan, record, records, with_use
from saam.comparison import Comparison
from saam.comparison.metrics import ACCURACY, LOSS
from saam.comparison.records import FailureRecord
from saam.report import verdicts
from saam.report.formats import formatted
from saam.report.overview import overview


def test_both_families_have_the_right_sign_and_their_own_holm() -> None:
    planned = plan(arms=("none", "se", "saam"), seeds=6)
    scores = {"none": 87.0, "se": 89.0, "saam": 88.0}
    step = 0.01  # so that no two differences are equal
    runs = tuple(
        record(arm, seed, scores[arm] + seed * step * (arm == "saam"), 1 - scores[arm] / 100)
        for arm, seed in planned.schedule()
    )
    view = overview(Comparison(planned, runs, ()))
    against_none = {each.arm: each for each in view.to_reference["accuracy"]}
    assert against_none["se"].mean == pytest.approx(2)
    assert against_none["saam"].mean == pytest.approx(1.025)
    of_saam = {each.reference: each for each in view.of_focus["accuracy"]}
    assert {each.arm for each in of_saam.values()} == {"saam"}
    assert of_saam["none"].mean == pytest.approx(1.025)
    assert of_saam["se"].mean == pytest.approx(-0.975)
    assert of_saam["se"].values == pytest.approx({seed: -1 + seed * step for seed in range(6)})
    assert of_saam["se"].low <= of_saam["se"].mean <= of_saam["se"].high
    losses = {each.reference: each.mean for each in view.of_focus["loss"]}
    assert losses == pytest.approx({"none": -0.01, "se": 0.01})


def test_verdicts_turn_with_the_sign() -> None:
    planned = plan(arms=("none", "saam"), seeds=7)
    runs = tuple(record(arm, seed, 87 - (arm == "saam") * (1 + seed / 9), 0.4) for arm, seed in planned.schedule())
    view = overview(Comparison(planned, runs, ()))
    assert view.of_focus["accuracy"][0].verdict == "worse"
    assert view.to_reference["accuracy"][0].verdict == "worse"
    swapped = replace(planned, reference="saam", focus="none")
    view = overview(Comparison(swapped, runs, ()))
    assert view.of_focus["accuracy"][0].verdict == "better"
    assert view.headline == "No attention is better than saam"


def test_rows_follow_the_plan_and_hold_the_costs() -> None:
    whole = comparison(arms=("saam", "none", "eca"), seeds=3)
    view = overview(whole)
    assert [row.arm for row in view.rows] == ["saam", "none", "eca"]
    assert [row.runs for row in view.rows] == [3, 3, 3]
    assert all(row.cost is not None and row.cost.arm == row.arm for row in view.rows)
    assert view.rows[1].differences == {}
    assert set(view.rows[0].differences) == {"accuracy", "loss"}
    assert view.complete


def test_fewer_seeds_than_needed_are_said_to_be_too_few() -> None:
    few = comparison(seeds=5)
    view = overview(few)
    assert view.headline == "Five seeds cannot tell saam from no attention, se or eca yet"
    assert len(view.notes) == 1
    assert "cannot tell" in view.notes[0]
    assert overview(comparison(seeds=8)).notes == ()


def test_the_power_is_told_where_it_can_be_reached() -> None:
    assert [each.reference for each in overview(comparison(seeds=7)).detectable] == ["none", "se", "eca"]
    assert overview(comparison(seeds=6)).detectable == []  # three comparisons need seven seeds
    planned = plan(arms=("none", "saam"), seeds=6)
    runs = tuple(record(arm, seed, 80 + 0.1 * seed, 0.4) for arm, seed in planned.schedule())
    assert overview(Comparison(planned, runs, ())).detectable == []  # no spread


def test_a_comparison_in_which_nothing_was_learned_says_so_first() -> None:
    planned = plan(arms=("none", "saam"), seeds=6)
    runs = tuple(record(arm, seed, 10 + 0.1 * seed * (arm == "saam"), 2.3) for arm, seed in planned.schedule())
    shown = Comparison(planned, runs, (), classes=10)
    assert overview(shown).headline.startswith("No arm is clearly better than guessing: 10.25")
    assert verdicts(shown)[0] == overview(shown).headline
    assert len(verdicts(shown)) == 2
    assert overview(replace(shown, classes=None)).headline == "Six seeds cannot tell saam from no attention yet"
    assert overview(replace(shown, classes=20)).headline == "Six seeds cannot tell saam from no attention yet"
    learned = replace(runs[-1], test={**runs[-1].test, "accuracy": 60.0})
    assert "chance" not in overview(replace(shown, records=(*runs[:-1], learned))).headline
    assert overview(replace(shown, records=())).at_chance == ""


def test_few_test_images_are_noted() -> None:
    planned = plan(arms=("none", "saam"), seeds=1)
    runs = [record(arm, 0, 80.0, 0.4, test={"accuracy": 80.0, "loss": 0.4, "count": 40}) for arm in planned.arms]
    assert "40 test images: each weighs 2.5 points" in overview(Comparison(planned, tuple(runs), ())).notes[-1]


def test_the_last_epoch_says_whether_the_pooling_is_learned() -> None:
    """In saam one seed alone is below .95 in the end, in eca the mean of the seeds is, and in se it was once."""
    last = {"saam": (0.94, 0.97), "eca,squeeze=score": (0.92, 0.96), "se,squeeze=score": (0.97, 0.97), "se": ()}
    planned = plan(arms=("none", *last), seeds=2)
    runs = []
    for arm, seed in planned.schedule():
        run = record(arm, seed, 80.0 + seed, 0.4)
        if last.get(arm):
            early = 0.2 if arm == "se,squeeze=score" else 1.0
            use = {"layer1": (0.999, 1.1), "layer2": (last[arm][seed], 2.0)}
            run = with_use(run, {"layer1": (early, 1.0), "layer2": (early, 1.0)}, use)
        runs.append(run)
    view = overview(Comparison(planned, tuple(runs), ()))
    unlearned = "pooling unlearned, every site uses more than 95\N{NO-BREAK SPACE}% of the pixels"
    assert view.notes[1:] == (
        f"saam: {unlearned}; it is an se in effect",
        "eca,squeeze=score: scores used, share of pixels .94 to 1.00 (1 = mean pooling)",
        f"se,squeeze=score: {unlearned}; it is an se in effect",
    )
    assert "cannot tell" in view.notes[0]
    assert view.shares.keys() == {"saam", "eca,squeeze=score", "se,squeeze=score"}
    assert view.shares["saam"] == pytest.approx({"layer1": 0.999, "layer2": 0.955})


def test_the_last_epoch_says_whether_attention_left_the_identity() -> None:
    planned = plan(arms=("none", "se", "eca"), seeds=2)
    last = {"se": (0.01, 0.03), "eca": (0.01, 0.4)}
    runs = []
    for arm, seed in planned.schedule():
        run = record(arm, seed, 80.0 + seed, 0.4)
        if arm in last:
            uses = {"layer1": {"change": 0.001}, "layer2": {"change": last[arm][seed]}}
            run = replace(run, curve=(*run.curve[:-1], {**run.curve[-1], "observed": {"gate_use": uses}}))
        runs.append(run)
    view = overview(Comparison(planned, tuple(runs), ()))
    assert view.changes["se"] == pytest.approx({"layer1": 0.001, "layer2": 0.02})
    assert view.changes.keys() == {"se", "eca"}
    assert [note.partition(",")[0] for note in view.notes[1:]] == ["se: attention never left the identity"]


def test_without_scores_there_is_nothing_to_say_of_them() -> None:
    view = overview(comparison(seeds=8))
    assert (view.shares, view.notes) == ({}, ())


def test_one_verdict_for_each_alternative() -> None:
    whole = comparison(seeds=8)
    sentences = verdicts(whole)
    assert [sentence.split(":")[0] for sentence in sentences] == ["saam vs no attention", "saam vs se", "saam vs eca"]
    runs = {(each.arm, each.seed): each.test["accuracy"] for each in whole.records}
    mean = sum(runs["saam", seed] - runs["se", seed] for seed in range(8)) / 8
    assert f"+{mean:.2f} points" in sentences[1]


@pytest.mark.parametrize("runs", range(9))
def test_every_stage_of_a_comparison_has_an_overview(runs: int) -> None:
    part = first(comparison(arms=("saam", "se", "none"), seeds=3, reference="none"), runs)
    view = overview(part)
    assert (view.finished, view.planned, view.complete) == (runs, 9, False)
    assert [bool(row.scores) for row in view.rows] == [runs > 0, runs > 1, runs > 2]
    assert sum(bool(row.differences) for row in view.rows) == (2 if runs > 2 else 0)
    assert view.headline
    assert (verdicts(part) != []) == (runs > 0 and runs != 1)


def test_failed_runs_are_counted_and_come_first() -> None:
    whole = comparison(seeds=5)
    failed = FailureRecord("id", "saam", 4, "out of memory", "", {}, "")
    view = overview(replace(first(whole, 19), failures=(failed,)))
    assert view.notes[0] == "1 of 20 runs failed: saam, seed 4: out of memory"
    assert {row.arm: row.failed for row in view.rows} == {"none": 0, "se": 0, "eca": 0, "saam": 1}
    said = {
        sentence.partition(":")[0]: "without one seed in which a run failed" in sentence for sentence in view.verdicts
    }
    assert said == {"saam vs no attention": True, "saam vs se": True, "saam vs eca": True}
    failed = FailureRecord("id", "se", 4, "out of memory", "", {}, "")
    part = replace(whole, failures=(failed,), records=tuple(each for each in whole.records if each.seed < 4))
    said = {sentence.partition(":")[0]: "without one seed" in sentence for sentence in overview(part).verdicts}
    assert said == {"saam vs no attention": False, "saam vs se": True, "saam vs eca": False}
    assert "1 of 20 runs failed: se, seed 4: out of memory; the figures are of the other runs." in formatted(
        part, "markdown"
    )
    assert overview(whole).failures == ()


def test_an_arm_that_stopped_early_is_complete() -> None:
    planned = plan(arms=("none", "saam", "se"), seeds=8, stopped={"saam": 6})
    view = overview(Comparison(planned, records(planned), ()))
    assert {row.arm: (row.runs, row.planned) for row in view.rows} == {"none": (8, 8), "saam": (6, 6), "se": (8, 8)}
    assert (view.finished, view.planned, view.complete) == (22, 22, True)


def test_the_metrics_are_those_of_the_plan() -> None:
    view = overview(comparison(seeds=3))
    assert view.metrics == (ACCURACY, LOSS)
    assert view.primary is ACCURACY
    assert [each.metric for each in (*view.of_focus["accuracy"][:1], *view.to_reference["loss"][:1])] == [
        ACCURACY,
        LOSS,
    ]


def test_evidence_turns_with_the_arms() -> None:
    whole = comparison(seeds=8)
    view = overview(whole)
    forward = next(each for each in view.to_reference["accuracy"] if each.arm == "saam")
    swapped = overview(replace(whole, plan=replace(whole.plan, reference="saam", focus="none")))
    backward = swapped.of_focus["accuracy"][-1]
    assert (backward.arm, backward.reference) == ("none", "saam")
    assert backward.evidence.low == pytest.approx(-forward.evidence.high)
    assert backward.evidence.high == pytest.approx(-forward.evidence.low)
    assert backward.ahead == pytest.approx(1 - forward.ahead)
    assert {forward.verdict, backward.verdict} == {"better", "worse"}
