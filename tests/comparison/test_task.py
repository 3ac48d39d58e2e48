"""Training functions of the user's own, with real worker processes."""

import dataclasses
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import saam
import user_code
from saam.comparison import TaskPlan, load_comparison, load_model, read_values
from saam.comparison.job import Job, work
from saam.comparison.store import read_progress, state_file
from saam.report import html, verdicts
from saam.report.charts import charts
from saam.report.overview import overview

LOSS = saam.Metric("loss", "lower", spread=0.1, delta=0.05)
IOU = saam.Metric("iou", "higher", spread=1.0, delta=0.5, unit="%", digits=1, high=100.0)
DRAW = saam.Metric("torch", "higher", spread=1.0, delta=0.1)
ARMS = ("none", "se", user_code.Mine)


def timeless(comparison):
    return [dataclasses.replace(record, seconds=0.0, finished="", model_options={}) for record in comparison.records]


@pytest.fixture
def here():
    """A worker that takes no time to start, where the process does not matter."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A comparison that nothing disturbed, and its folder."""
    out = tmp_path_factory.mktemp("whole")
    return saam.compare(user_code.task, arms=ARMS, seeds=3, metrics=[LOSS, IOU], out=out, workers=2), out


def test_every_arm_runs_with_every_seed_and_the_records_say_it(whole):
    comparison, out = whole
    assert [(record.arm, record.seed) for record in comparison.records] == [
        (arm, seed) for seed in range(3) for arm in ("none", "se", "Mine")
    ]
    assert comparison.failures == ()
    assert comparison.costs == ()
    assert load_comparison(out) == comparison
    record = comparison.records[2]
    assert record.test.keys() == {"loss", "iou"}
    assert record.parameters > comparison.records[0].parameters
    assert [(epoch["epoch"], epoch["iou"]) for epoch in record.curve] == [(1, 51), (2, 52), (3, 53), (4, 54)]
    assert not (out / "states").exists()
    values = read_values(out, record.id)
    assert values.keys() == {"loss"}
    assert values["loss"].shape == (6,)
    assert values["loss"].dtype == torch.float32
    assert float(values["loss"].mean()) == pytest.approx(record.test["loss"], rel=1e-6)


def test_a_seed_gives_all_arms_the_same_initial_weights(whole):
    first = {}
    for record in whole[0].records:
        first.setdefault(record.seed, set()).add(record.curve[0]["loss"])
    assert all(len(losses) == 1 for losses in first.values())  # attention starts as the identity
    assert len(set.union(*first.values())) == 3


def test_a_run_whose_worker_is_killed_goes_on_from_its_folder(whole, tmp_path):
    (tmp_path / "marks").mkdir()
    options = {"marks": str(tmp_path / "marks"), "kill": ["Mine", 1, 2]}
    killed = saam.compare(
        user_code.task,
        arms=ARMS,
        seeds=3,
        metrics=[LOSS, IOU],
        options=options,
        out=tmp_path / "out",
        workers=2,
    )
    assert [file.name for file in (tmp_path / "marks").iterdir()] == ["Mine-1"]
    assert killed.failures == ()
    same = dict.fromkeys(("id",), "")
    assert [dataclasses.replace(record, **same) for record in timeless(killed)] == [
        dataclasses.replace(record, **same) for record in timeless(whole[0])
    ]
    assert not (tmp_path / "out" / "states").exists()


def test_the_global_generators_are_seeded_for_every_run_and_given_back(here, tmp_path):
    metrics = [saam.Metric(name, "higher", spread=1.0, delta=0.1) for name in ("torch", "numpy", "python")]
    settings = {"arms": ("none", "se"), "seeds": 2, "metrics": metrics}
    before = torch.get_rng_state()
    comparison = saam.compare(user_code.draws, **settings, out=tmp_path / "here", executor=here)
    assert torch.equal(torch.get_rng_state(), before)
    there = saam.compare(user_code.draws, **settings, out=tmp_path / "there", workers=1)
    first, second, third, _ = (record.test for record in comparison.records)
    assert first == second
    assert all(first[name] != third[name] for name in first)
    assert [record.test for record in comparison.records] == [record.test for record in there.records]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "without",
            "ValueError: the task without returned no iou, which the comparison has as a metric: it returned accuracy, "
            "loss",
        ),
        ("nothing", "TypeError: the task nothing must return its scores by metric name, or an Outcome, got None"),
        ("leaves", "SystemExit: 2"),
        ("late", "ValueError: expected a whole number from 1 to 3 as the epoch, got 0"),
    ],
)
def test_what_a_task_does_wrong_is_recorded_with_its_reason(here, tmp_path, name, message):
    task = getattr(user_code, name)
    comparison = saam.compare(task, arms=("none",), seeds=1, metrics=[IOU], out=tmp_path, executor=here)
    assert comparison.records == ()
    assert [failure.error for failure in comparison.failures] == [message]
    assert [failure.error for failure in load_comparison(tmp_path).failures] == [message]
    assert message in html(comparison).replace("&#39;", "'")


def test_scores_may_be_negative_and_diverged_ones_are_nan(here, tmp_path):
    score = saam.Metric("score", "higher", spread=1.0, delta=0.1, low=-float("inf"))
    comparison = saam.compare(
        user_code.diverges, arms=("none", "se"), seeds=2, metrics=[score], out=tmp_path, executor=here
    )
    scores = {(record.arm, record.seed): record.test["score"] for record in comparison.records}
    assert scores.pop(("none", 0)) == -2.5
    assert all(value != value for value in scores.values())
    assert html(load_comparison(tmp_path))


def test_the_direction_of_a_metric_decides_the_verdict(whole):
    records = [
        dataclasses.replace(record, test={"loss": 1.0 + (record.arm == "se") + record.seed / 1000})
        for record in whole[0].records
        for record in [dataclasses.replace(record, seed=record.seed + 3 * shift) for shift in range(3)]
    ]
    for better, verdict in (("lower", "worse"), ("higher", "better")):
        plan = dataclasses.replace(
            whole[0].plan, metrics=(dataclasses.replace(LOSS, better=better),), seeds=tuple(range(9)), focus="se"
        )
        comparison = dataclasses.replace(whole[0], plan=plan, records=tuple(records))
        assert f"se vs no attention: {verdict}," in verdicts(comparison)[0]


def test_the_report_of_a_task_speaks_of_the_task(whole):
    page = html(whole[0])
    assert "user_code:task trains each arm with the seeds 0, 1 and 2" in page
    assert "Learning curves" in page
    for words in (">MACs<", "split", "plain backbone timed", "Validation loss", "test images are opened"):
        assert words not in page.partition("<script>")[0]


def test_a_task_that_reports_training_alone_has_no_validation_curve(whole):
    records = [
        dataclasses.replace(
            record, curve=tuple({"epoch": e["epoch"], "train_loss": e["loss"], "lift": 1.0} for e in record.curve)
        )
        for record in whole[0].records
    ]
    titles = {each.title for each in charts(overview(whole[0]), records) if each.section == "curves"}
    assert titles == {"Train loss", "Lift"}
    titles = {each.title for each in charts(overview(whole[0]), whole[0].records) if each.section == "curves"}
    assert titles == {"Loss", "Iou"}


@pytest.mark.parametrize("metrics", [[LOSS, IOU, saam.Metric("dice", "higher", spread=1.0, delta=0.5)]])
def test_metrics_that_the_runs_do_not_have_are_refused(whole, metrics):
    message = (
        "plan.json compares 'dice', and the runs have iou, loss alone: choose metrics among these, or another --out"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        saam.compare(user_code.task, arms=ARMS, seeds=3, metrics=metrics, out=whole[1])
    assert load_comparison(whole[1]) == whole[0]
    for changed in ([IOU, LOSS], [LOSS]):
        with pytest.raises(
            ValueError, match=r"runs of a comparison of loss, iou, of which the first decides, as fixed"
        ):
            saam.compare(user_code.task, arms=ARMS, seeds=3, metrics=changed, out=whole[1])
    assert load_comparison(whole[1]) == whole[0]


def test_new_seeds_follow_those_that_were_looked_at(whole, tmp_path):
    out = Path(shutil.copytree(whole[1], tmp_path / "copy"))
    settings = {"metrics": [LOSS, IOU], "out": out, "workers": 1}
    fewer = saam.compare(user_code.task, arms=ARMS[:2], seeds=(0, 2), **settings)
    assert fewer.others == 5
    assert load_comparison(out) == fewer
    note = "5 more finished runs in the folder are not shown, of other arms or seeds than this plan has"
    assert note in overview(fewer).notes
    again = saam.compare(user_code.task, arms=ARMS, seeds=(0, 1, 2), **settings)  # all of them are finished
    assert timeless(again) == timeless(whole[0])
    for record in again.records[3:6]:
        (out / "runs" / f"{record.id}.json").unlink()
    saam.compare(user_code.task, arms=ARMS, seeds=(0, 2), **settings)
    with pytest.raises(ValueError, match=r"has runs of none with seeds up to 2, and a verdict .* add seeds above 2"):
        saam.compare(user_code.task, arms=ARMS, seeds=(0, 1, 2), **settings)


def test_arms_that_a_task_cannot_build_fail_and_are_no_default(here, tmp_path):
    arms = ("none", "wider", "none,width=64", "none,head=score", "se,head=score")
    comparison = saam.compare(user_code.task, arms=arms, seeds=1, metrics=[LOSS], out=tmp_path / "all", executor=here)
    assert [record.arm for record in comparison.records] == ["none"]
    for failure in comparison.failures:
        assert "context.build puts attention into a network of your own, which has no arm" in failure.error
        assert repr(failure.arm) in failure.error
    default = saam.compare(user_code.draws, seeds=1, metrics=[DRAW], out=tmp_path / "default", executor=here)
    assert default.plan.arms == ("none", "se", "saam")


def test_scores_outside_their_limits_are_refused(here, tmp_path):
    below = dataclasses.replace(IOU, high=1.0)
    comparison = saam.compare(user_code.task, arms=["se"], seeds=1, metrics=[below], out=tmp_path, executor=here)
    (failure,) = comparison.failures
    assert re.search(
        r"the task task returned iou [\d.]+, and the metric was declared with low=-inf and high=1", failure.error
    )


def test_a_worker_names_its_run_by_its_own_code():
    plan = TaskPlan(task=user_code.draws, metrics=(DRAW,), arms=("none",), seeds=(0,))
    assert work(Job(plan, "none", 0, "0" * 16, 1, "cpu", None)).record.id == plan.run_id("none", 0)


def test_networks_of_a_task_are_left_to_the_task(whole):
    with pytest.raises(ValueError, match=r"comparison of the function user_code:task, which alone can build"):
        load_model(whole[1], "none", 0)


def test_what_cannot_be_a_task_says_so(tmp_path):
    def local(arm, seed, context):
        return {"loss": 1.0}

    for what in (local, lambda arm, seed, context: {"loss": 1.0}):
        with pytest.raises(ValueError, match=r"worker processes cannot import <function .*at the top of a file"):
            saam.compare(what, metrics=[LOSS], out=tmp_path / "out")
    with pytest.raises(ValueError, match=r"cannot import 'user_code:tusk': user_code has no tusk"):
        saam.compare(TaskPlan(task="user_code:tusk", arms=("se",), seeds=(0,), metrics=(LOSS,)), tmp_path / "out")
    with pytest.raises(TypeError, match=r"expected a plan, .* or a training function with metrics=, got 'task' alone"):
        saam.compare(user_code.task, out=tmp_path / "out")
    with pytest.raises(TypeError, match="options must hold plain values"):
        saam.compare(user_code.task, metrics=[LOSS], options={"model": object()}, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("permission", "PermissionError: [Errno 13] Permission denied: '/data/mine.pt'"), ("mute", "MuteError")],
)
def test_errors_of_the_users_own_are_failures_of_the_run(here, tmp_path, name, message):
    task = getattr(user_code, name)
    comparison = saam.compare(task, arms=("none", "se"), seeds=1, metrics=[IOU], out=tmp_path, executor=here)
    assert [failure.error for failure in comparison.failures] == [message, message]


def test_a_run_leaves_nothing_to_the_next(here, tmp_path):
    comparison = saam.compare(
        user_code.doubles, arms=("none", "se"), seeds=1, metrics=[IOU], out=tmp_path, executor=here
    )
    assert torch.get_default_dtype() == torch.float32
    assert len({record.test["iou"] for record in comparison.records}) == 1


def test_threads_of_one_process_draw_as_one_thread_does(here, tmp_path):
    settings = {"arms": ("none", "se"), "seeds": 2, "metrics": [IOU]}
    one = saam.compare(user_code.slow_draws, **settings, out=tmp_path / "one", executor=here)
    with ThreadPoolExecutor(3) as threads:
        three = saam.compare(user_code.slow_draws, **settings, out=tmp_path / "three", executor=threads)
    assert [record.test for record in one.records] == [record.test for record in three.records]
    assert one.records[0].test == one.records[1].test != one.records[2].test


def test_what_a_task_reports_and_returns_is_kept_as_it_comes(here, tmp_path):
    comparison = saam.compare(user_code.stumbles, arms=("none",), seeds=1, metrics=[IOU], out=tmp_path, executor=here)
    assert comparison.failures == ()
    (record,) = comparison.records
    assert [{k: v for k, v in epoch.items() if v is not None} for epoch in record.curve] == [
        {"epoch": 1, "rate": 0.5, "iou": 2.0},
        {"epoch": 2, "loss": 1.0},
    ]
    values = read_values(tmp_path, record.id)
    assert values["iou"].tolist() == [0, 2, 4, 6, 8, 10]
    assert torch.equal(values["loss"], values["again"])


def test_progress_is_shown_though_a_loss_is_not_finite(tmp_path):
    plan = TaskPlan(task=user_code.stumbles, metrics=(IOU,), arms=("none",), seeds=(0,))
    (tmp_path / "states").mkdir()
    run_id = plan.run_id("none", 0)
    job = Job(plan, "none", 0, run_id, 1, "cpu", state_file(tmp_path, run_id))
    work(job)
    (progress,) = read_progress(tmp_path, [run_id])
    assert (progress.epoch, progress.numbers) == (2, {"loss": 1.0})
    assert [epoch.get("iou") for epoch in progress.curve] == [2.0, None]


def test_arguments_that_mean_nothing_here_are_refused(tmp_path, make_plan):
    with pytest.raises(TypeError, match=r"a training function takes no recipe and no where: leave out them"):
        saam.compare(user_code.task, arms=ARMS, metrics=[LOSS], recipe="demo", where="stage", out=tmp_path)
    with pytest.raises(TypeError, match=r"a plan takes no seeds: leave out it"):
        saam.compare(make_plan(), tmp_path, seeds=20)
    assert not list(tmp_path.iterdir())
