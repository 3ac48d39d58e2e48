"""A comparison that is tracked: what each run logs, while it trains and at the end, and after it was stopped."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest

from saam.comparison import compare, tracking
from saam.comparison.comparison import Comparison
from saam.comparison.records import FailureRecord, ProgressRecord
from saam.comparison.tracking import tracked
from saam.training.tracking import TrackedRun


class Log:
    """What a tracker would be told; the notes beside the results are real."""

    told: list = []  # noqa: RUF012

    def __init__(self, run):
        self.name, self.key = run.name, "key"
        self.told.append(("open", run.name, run.group, run.project, run.config))

    def log(self, numbers, epoch):
        self.told.append((self.name, epoch, numbers))

    def finish(self, numbers, epoch, *, failed):
        self.told.append((self.name, "end", failed, numbers))

    def close(self):
        self.told.append((self.name, "close"))


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(Log, "told", [])
    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    monkeypatch.setitem(tracking.TrackedRun._opened.__globals__["_LOGS"], "wandb", Log)
    return Log.told


def lines(told, name):
    return [each[1:] for each in told if each[0] == name]


def test_each_run_has_its_curve_once_its_scores_and_its_settings(make_plan, told, tmp_path):
    plan, seen = make_plan(arms=("none", "saam,heads=2"), seeds=(0,)), []
    with ThreadPoolExecutor(1) as executor:
        for _ in range(2):
            done = compare(plan, tmp_path, executor=executor, track="wandb", on_record=seen.append)
    assert [record.arm for record in seen] == ["none", "saam,heads=2"]
    for record in done.records:
        first, second, (end, failed, numbers) = lines(told, f"{record.arm} seed 0")
        assert (first[0], second[0], end, failed) == (1, 2, "end", False)
        assert first[1]["train_loss"] == pytest.approx(record.curve[0]["train_loss"])
        assert second[1]["validation_accuracy"] == pytest.approx(record.curve[1]["validation_accuracy"])
        assert "epoch" not in first[1]
        assert numbers["test/accuracy"] == record.test["accuracy"]
        assert numbers["parameters"] == record.parameters
    opened = {each[1]: each[2:] for each in told if each[0] == "open"}
    assert opened.keys() == {"none seed 0", "saam,heads=2 seed 0", "comparison"}
    group, project, config = opened["saam,heads=2 seed 0"]
    assert (group, project) == ("saam,heads=2", "saam resnet8 on photo-digits")
    assert (config["arm"], config["seed"], config["model"]) == ("saam,heads=2", 0, "resnet8")
    assert config["recipe"]["epochs"] == 2
    ((_, _, numbers),) = lines(told, "comparison")
    assert numbers["test/accuracy/none"] == done.records[0].test["accuracy"]
    assert numbers["train_step_ratio/none"] == 1
    assert numbers["parameters/saam,heads=2"] == done.records[1].parameters
    assert opened["comparison"][2] == done.plan.to_json()


def progress(epoch, *, arm="se", curve=True):
    entries = tuple({"epoch": each, "loss": 1.0 / each} for each in range(1, epoch + 1))
    return ProgressRecord(arm, 0, epoch, 9, {"loss": 1.0 / epoch}, entries if curve else ())


def test_epochs_between_two_looks_are_logged_in_their_order(make_plan, told, tmp_path):
    with tracked(["wandb"], tmp_path, {}) as settings:
        for run in ([], [progress(1)], [progress(1)], [progress(4)]):
            settings["on_progress"](Comparison(make_plan(), (), (), progress=tuple(run)))
    assert [epoch for epoch, *_ in lines(told, "se seed 0") if epoch != "close"] == [1, 2, 3, 4]
    assert told[-1] == ("se seed 0", "close")
    told.clear()
    with tracked(["wandb"], tmp_path, {}) as settings:  # after a stop
        settings["on_progress"](Comparison(make_plan(), (), (), progress=(progress(5),)))
    assert [each[:2] for each in told if each[0] != "open"] == [("se seed 0", 5), ("se seed 0", "close")]


def test_the_progress_of_old_has_the_last_epoch_alone(make_plan, told, tmp_path):
    with tracked(["wandb"], tmp_path, {}) as settings:
        settings["on_progress"](Comparison(make_plan(), (), (), progress=(progress(3, curve=False),)))
    assert lines(told, "se seed 0")[0] == (3, {"loss": pytest.approx(1 / 3)})


def test_finished_runs_of_before_are_logged_and_those_of_other_drivers_are_not(make_plan, make_record, told, tmp_path):
    mine, theirs = make_record("se", 0), make_record("saam", 0)
    with tracked(["wandb"], tmp_path, {}) as settings:
        settings["on_progress"](Comparison(make_plan(), (mine,), ()))
        settings["on_progress"](Comparison(make_plan(), (mine, theirs), ()))
    assert lines(told, "se seed 0")
    assert not lines(told, "saam seed 0")


def test_a_run_that_failed_ends_as_such_once(make_plan, told, tmp_path):
    failure = FailureRecord("0" * 16, "se", 0, "broken", "", {}, "")
    with tracked(["wandb"], tmp_path, {}) as settings:
        settings["on_progress"](Comparison(make_plan(), (), (), progress=(progress(1),)))
        for _ in range(2):
            settings["on_progress"](Comparison(make_plan(), (), (), failures=(failure,)))
    assert lines(told, "se seed 0")[1:] == [("end", True, {})]


def test_what_is_under_way_is_closed_when_the_comparison_is_stopped(make_plan, told, tmp_path):
    def stopped():
        with tracked(["wandb"], tmp_path, {}) as settings:
            settings["on_progress"](Comparison(make_plan(), (), (), progress=(progress(1),)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert told[-1] == ("se seed 0", "close")
    assert not lines(told, "comparison")


def test_without_trackers_the_settings_stay(tmp_path):
    settings = {"on_progress": print, "workers": 1}
    with tracked((), tmp_path, settings) as chosen:
        assert chosen == settings


def test_several_trackers_and_an_unknown_one(make_plan, told, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(TrackedRun._opened.__globals__["_LOGS"], "mlflow", Log)
    with tracked(["wandb", "mlflow", "wandb"], tmp_path, {}) as settings:
        settings["on_progress"](Comparison(make_plan(), (), (), progress=(progress(1),)))
    assert len([each for each in told if each[:2] == ("se seed 0", 1)]) == 2
    with pytest.raises(ValueError, match="unknown tracker 'tensorbord': did you mean 'tensorboard'"):
        compare(make_plan(), tmp_path / "out", track="tensorbord")
    assert not (tmp_path / "out").exists()


def test_a_run_that_goes_on_tells_of_its_first_epochs_too(make_plan, tmp_path):
    """The file of progress has the whole curve, over a stop."""
    import json

    from saam.comparison.job import Job, work

    plan, ids = make_plan(arms=("none",), seeds=(0,)), "0123456789abcdef"
    state = tmp_path / "states" / f"{ids}.pt"
    state.parent.mkdir()
    begun = {
        "arm": "none",
        "seed": 0,
        "epoch": 1,
        "epochs": 2,
        "numbers": {},
        "curve": [{"epoch": 1, "train_loss": 7.0}],
    }
    work(Job(plan, "none", 0, ids, 1, "cpu", state))
    curve = json.loads(state.with_suffix(".json").read_text())["curve"]
    assert [entry["epoch"] for entry in curve] == [1, 2]
    assert {"train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate"} <= curve[
        0
    ].keys()
    from saam.comparison.job import _curve

    state.with_suffix(".json").write_text(json.dumps(begun))
    assert _curve(state.with_suffix(".json")) == begun["curve"]
    assert _curve(tmp_path / "missing.json") == []
