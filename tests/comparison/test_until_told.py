"""Seeds until told: which runs are added, when that ends, and that it goes on the same."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from torch import nn

from comparison.fakes import scores_of
from saam.comparison import compare, driver, job, load_comparison
from saam.comparison.plan_run import Run
from saam.report.overview import overview
from saam.report.terminal import table

GAINS = {"none": 0.0, "se": 6.0, "eca": -6.0, "saam": 0.0}


@pytest.fixture
def broken():
    """The runs that fail."""
    return set()


@pytest.fixture
def ran(monkeypatch, make_record, broken):
    """Runs that take no time, with scores by arm and seed; those made so far."""
    made = []

    def run(plan, arm, seed, **_):
        if (arm, seed) in broken:
            raise ValueError("broken")
        made.append((arm, seed))
        fingerprint = driver.load_data(plan.data, **plan.data_options).fingerprint
        noise = 3.0 * (-1) ** seed if arm == "saam" else 0.4 * ((7 * seed + len(arm)) % 5 - 2)  # saam is never told
        score = 80 + seed / 10 + GAINS[arm] + noise
        record = make_record(arm, seed, score, id=plan.run_id(arm, seed, fingerprint=fingerprint))
        return Run(record, nn.Linear(1, 1), scores_of((0.5,), (True,)))

    monkeypatch.setattr(job, "run", run)
    return made


@pytest.fixture
def go():
    with ThreadPoolExecutor(1) as executor:
        yield lambda plan, out, **settings: compare(plan, out, executor=executor, costs=False, **settings)


def counts(comparison):
    return {arm: sum(record.arm == arm for record in comparison.records) for arm in comparison.plan.arms}


def test_seeds_are_added_to_undecided_arms_and_the_reference_until_the_limit(make_plan, ran, go, tmp_path):
    plan = make_plan(arms=("none", "se", "eca", "saam"), seeds=(0, 1))
    done = go(plan, tmp_path, max_seeds=14)
    told = counts(done)
    assert told["none"] == told["saam"] == 14
    assert 2 < told["se"] < 14
    assert 2 < told["eca"] < 14
    assert done.plan.seeds == tuple(range(14))
    assert done.plan.stopped == {arm: told[arm] for arm in ("se", "eca")}
    assert ran == list(done.plan.schedule())
    kept = json.loads((tmp_path / "plan.json").read_text())
    assert kept["plan"]["stopped"] == done.plan.stopped
    assert len(kept["runs"]) == len(ran) == sum(told.values())
    assert load_comparison(tmp_path) == done


def test_it_ends_as_soon_as_all_are_told(make_plan, ran, go, tmp_path):
    done = go(make_plan(arms=("none", "se", "eca"), seeds=(3, 1)), tmp_path, max_seeds=40)
    assert done.plan.seeds[:3] == (3, 1, 4)
    assert 6 <= len(done.plan.seeds) < 20
    assert {each.verdict for each in overview(done).to_reference["accuracy"]} == {"better", "worse"}


def test_without_a_limit_no_seed_is_added(make_plan, ran, go, tmp_path):
    assert go(make_plan(arms=("none", "saam")), tmp_path).plan.seeds == (0, 1)
    assert go(make_plan(arms=("none", "saam")), tmp_path, max_seeds=1).plan.seeds == (0, 1)


@pytest.mark.parametrize("most", [0, -1, 10_001])
def test_a_limit_that_is_none_is_refused(make_plan, go, tmp_path, most):
    with pytest.raises(ValueError, match=f"expected max_seeds of 1 to 10,000, or None, got {most}"):
        go(make_plan(), tmp_path, max_seeds=most)


def test_the_budget_ends_it(make_plan, ran, go, tmp_path, monkeypatch):
    plan, now = make_plan(arms=("none", "saam")), [0.0]
    monkeypatch.setattr(driver.time, "monotonic", lambda: now[0])

    def hour(_):
        now[0] += 3600

    assert len(go(plan, tmp_path, max_seeds=40, budget=6.5 * 3600, on_record=hour).plan.seeds) == 4
    assert len(go(plan, tmp_path, max_seeds=5, budget=1.0).plan.seeds) == 5  # what is there takes no time


def test_a_comparison_that_was_stopped_ends_with_the_same_runs(make_plan, ran, go, tmp_path):
    plan = make_plan(arms=("none", "se", "saam"))
    whole = go(plan, tmp_path / "whole", max_seeds=10)
    ran.clear()

    finished = []

    def stop(record):
        finished.append(record)
        if len(finished) == 14:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(plan, tmp_path / "stopped", max_seeds=10, on_record=stop)
    resumed = go(plan, tmp_path / "stopped", max_seeds=10)
    assert resumed.plan == whole.plan
    assert [(r.id, r.test) for r in resumed.records] == [(r.id, r.test) for r in whole.records]
    ran.clear()
    assert go(plan, tmp_path / "stopped", max_seeds=10) == resumed
    assert go(resumed.plan, tmp_path / "stopped", max_seeds=10) == resumed
    assert ran == []
    assert go(plan, tmp_path / "stopped", max_seeds=11).plan.seeds == tuple(range(11))
    assert ran == [("none", 10), ("saam", 10)]


def test_an_arm_that_fails_gets_no_more_seeds_and_the_others_do(make_plan, ran, broken, go, tmp_path):
    broken |= {("eca", 3), ("eca", 4)}
    done = go(make_plan(arms=("none", "eca", "saam")), tmp_path, max_seeds=8)
    assert counts(done) == {"none": 8, "eca": 3, "saam": 8}
    assert [(failure.arm, failure.seed) for failure in done.failures] == [("eca", 3)]
    broken.clear()
    assert counts(go(make_plan(arms=("none", "eca", "saam")), tmp_path, max_seeds=8, retry=True))["eca"] > 3


def test_a_reference_that_fails_ends_it(make_plan, ran, broken, go, tmp_path):
    broken |= {("none", 0), ("none", 1)}
    done = go(make_plan(arms=("none", "saam")), tmp_path, max_seeds=8)
    assert counts(done) == {"none": 0, "saam": 2}


def test_the_report_counts_the_runs_that_are_planned(make_plan, ran, go, tmp_path):
    from rich.console import Console

    done = go(make_plan(arms=("none", "se", "saam")), tmp_path, max_seeds=12)
    view = overview(done)
    told = counts(done)
    assert view.complete
    assert view.planned == sum(told.values())
    assert {row.arm: (row.runs, row.planned) for row in view.rows} == {arm: (n, n) for arm, n in told.items()}
    less = overview(replace(done, records=done.records[:-1]))
    assert (less.finished, less.planned, less.complete) == (view.planned - 1, view.planned, False)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(table(done))
    printed = capture.get()
    assert f"{view.planned} of {view.planned} runs" in printed
    assert f"{told['se']}/{told['se']}" in printed
