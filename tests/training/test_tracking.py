"""Trackers: the real TensorBoard, whose files are read back, and the calls that Weights & Biases and MLflow get."""

import importlib
import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from saam.training import tracking
from saam.training.tracking import TrackedRun, require_trackers


def run(tracker, folder, name="se,heads=2 seed 0", **changes):
    values = {"project": "saam: a/b", "group": "se,heads=2", "config": {"arm": "se", "recipe": {"lr": 0.1}}}
    return TrackedRun(tracker, folder, name=name, **{**values, **changes})


class FakeWandB(ModuleType):
    """wandb.init, Run.define_metric, log, summary and finish, as docs.wandb.ai has them."""

    def __init__(self):
        super().__init__("wandb")
        self.calls = []

    def init(self, *, project, name, group, id, resume, config, dir, reinit):  # noqa: A002
        self.calls.append(("init", project, name, group, id, resume, config, dir, reinit))
        tell = self.calls.append
        return SimpleNamespace(
            define_metric=lambda name, step_metric=None: tell(("define", name, step_metric)),
            log=lambda data: tell(("log", data)),
            summary=SimpleNamespace(update=lambda data: tell(("summary", data))),
            finish=lambda exit_code=None: tell(("finish", exit_code)),
        )


class FakeMLflow(ModuleType):
    """MlflowClient with the methods of mlflow.client, and the entities that they take."""

    def __init__(self):
        super().__init__("mlflow")
        self.calls, self.experiments = calls, experiments = [], {}
        entities = ModuleType("mlflow.entities")
        entities.Metric = lambda key, value, timestamp, step: (key, value, step)
        entities.Param = lambda key, value: (key, value)
        self.entities = entities

        class MlflowClient:
            def get_experiment_by_name(self, name):
                return experiments.get(name)

            def create_experiment(self, name):
                experiments[name] = SimpleNamespace(experiment_id=f"e{len(experiments)}")
                return experiments[name].experiment_id

            def create_run(self, experiment_id, start_time=None, tags=None, run_name=None):
                calls.append(("create", experiment_id, tags, run_name))
                return SimpleNamespace(info=SimpleNamespace(run_id=f"r{len(calls)}"))

            def log_batch(self, run_id, metrics=(), params=(), tags=(), synchronous=None):
                assert len(params) <= 100
                calls.append(("batch", run_id, list(metrics), list(params)))

            def set_terminated(self, run_id, status=None, end_time=None):
                calls.append(("end", run_id, status))

        self.MlflowClient = MlflowClient


@pytest.fixture
def wandb(monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    fake = FakeWandB()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


@pytest.fixture
def mlflow(monkeypatch):
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setitem(sys.modules, "mlflow.entities", fake.entities)
    return fake


def events(folder):
    """Scalars (tag, step, value) and texts of all event files of a folder, in their order."""
    loader = importlib.import_module("tensorboard.backend.event_processing.event_file_loader")
    scalars, texts = [], []
    for file in sorted(folder.iterdir()):
        for event in loader.EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "text":
                    texts.append((value.tag, value.tensor.string_val[0].decode()))
                elif value.tensor.float_val or value.HasField("tensor"):
                    scalars.append((value.tag, event.step, pytest.approx(value.tensor.float_val[0])))
    return scalars, texts


def test_tensorboard_has_each_epoch_once_with_the_settings_and_the_scores(tmp_path):
    pytest.importorskip("tensorboard")
    first = run("tensorboard", tmp_path)
    first.log(1, {"loss": 2.0, "name": "no number", "none": None})
    first.log(2, {"loss": 1.5})
    first.log(2, {"loss": 9.0})
    first.close()
    second = run("tensorboard", tmp_path)
    for epoch in (1, 2, 3):
        second.log(epoch, {"loss": 1.0 / epoch})
    second.finish({"test/accuracy": 70.0})
    run("tensorboard", tmp_path).finish({"test/accuracy": 70.0})
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert folder.name == "se_heads_2 seed 0"
    scalars, texts = events(folder)
    assert scalars == [("loss", 1, 2.0), ("loss", 2, 1.5), ("loss", 3, 1 / 3), ("test/accuracy", 3, 70.0)]
    ((tag, text),) = texts
    assert tag.startswith("config")
    assert json.loads(text) == {"arm": "se", "recipe": {"lr": 0.1}}


def test_tensorboard_says_that_a_run_failed(tmp_path):
    pytest.importorskip("tensorboard")
    run("tensorboard", tmp_path).finish({}, failed=True)
    _, texts = events(tmp_path / "tensorboard" / "se_heads_2 seed 0")
    assert ("failed/text_summary", "the run failed") in texts


def test_wandb_gets_each_epoch_once_and_goes_on_with_the_same_run(tmp_path, wandb):
    first = run("wandb", tmp_path)
    first.log(1, {"loss": 2.0})
    first.close()
    second = run("wandb", tmp_path)
    second.log(1, {"loss": 2.0})
    second.log(2, {"loss": 1.0})
    second.finish({"test/accuracy": 70.0})
    run("wandb", tmp_path).finish({"test/accuracy": 70.0})
    inits = [call for call in wandb.calls if call[0] == "init"]
    assert len(inits) == 2
    assert inits[0] == inits[1]
    _, project, name, group, identity, resume, config, folder, reinit = inits[0]
    assert (project, name, group) == ("saam- a-b", "se,heads=2 seed 0", "se,heads=2")
    assert len(identity) == 12
    assert (resume, config, folder, reinit) == (
        "allow", {"arm": "se", "recipe": {"lr": 0.1}}, str(tmp_path), "create_new",
    )  # fmt: skip
    assert [call for call in wandb.calls if call[0] not in ("init", "define")] == [
        ("log", {"epoch": 1, "loss": 2.0}),
        ("finish", None),
        ("log", {"epoch": 2, "loss": 1.0}),
        ("summary", {"test/accuracy": 70.0}),
        ("finish", 0),
    ]
    assert ("define", "*", "epoch") in wandb.calls


def test_wandb_hears_of_failure_and_of_another_project(tmp_path, wandb, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    run("wandb", tmp_path).finish({}, failed=True)
    assert wandb.calls[0][1] == "mine"
    assert wandb.calls[-1] == ("finish", 1)


def test_mlflow_gets_parameters_once_and_each_epoch_once(tmp_path, mlflow):
    first = run(
        "mlflow", tmp_path, config={"recipe": {"lr": 0.1}, "long": "x" * 900, **dict.fromkeys(map(str, range(120)))}
    )
    first.log(1, {"loss": 2.0, "a,b=c": 1})
    first.close()
    second = run("mlflow", tmp_path)
    second.log(1, {"loss": 2.0})
    second.log(2, {"loss": 1.0})
    second.finish({"test/accuracy": 70.0})
    other = run("mlflow", tmp_path, name="other seed 0", group="other")
    other.finish({}, failed=True)
    create, *parameters = mlflow.calls[:3]
    assert create == ("create", "e0", {"group": "se,heads=2"}, "se,heads=2 seed 0")
    found = dict(entry for call in parameters for entry in call[3])
    assert found["recipe.lr"] == "0.1"
    assert found["long"] == "x" * 500
    assert len(found) == 122
    assert mlflow.calls[3:] == [
        ("batch", "r1", [("loss", 2.0, 1), ("a_b_c", 1.0, 1)], []),
        ("end", "r1", "KILLED"),
        ("batch", "r1", [("loss", 1.0, 2)], []),
        ("batch", "r1", [("test/accuracy", 70.0, 2)], []),
        ("end", "r1", "FINISHED"),
        ("create", "e0", {"group": "other"}, "other seed 0"),
        ("batch", "r9", [], [("arm", "se"), ("recipe.lr", "0.1")]),
        ("batch", "r9", [], []),
        ("end", "r9", "FAILED"),
    ]
    assert list(mlflow.experiments) == ["saam: a/b"]


def test_other_final_numbers_are_logged_again_and_the_same_are_not(tmp_path, wandb):
    for score in (70.0, 70.0, 71.0, float("nan"), float("nan")):
        run("wandb", tmp_path).finish({"score": score})
    assert len([call for call in wandb.calls if call[0] == "summary"]) == 3


def test_names_that_differ_in_odd_letters_alone_have_notes_of_their_own(tmp_path, wandb):
    for name in ("a,b", "a=b", "a/b", "../b"):
        run("wandb", tmp_path, name=name).log(1, {"loss": 1.0})
    assert len(list((tmp_path / "tracking").iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["tracking"]


def test_what_a_tracker_raises_is_one_line_and_the_epoch_is_not_logged_twice(tmp_path, wandb, monkeypatch):
    def broken(**_):
        raise Exception("no\nconnection")

    monkeypatch.setattr(wandb, "init", broken)
    with pytest.raises(RuntimeError, match=r"^wandb failed \(Exception: no\nconnection\): mend that, or leave out"):
        run("wandb", tmp_path).log(1, {})


def test_a_tracker_that_does_not_exist_or_is_not_installed(monkeypatch):
    with pytest.raises(ValueError, match="unknown tracker 'wanb': did you mean 'wandb'"):
        require_trackers(["wanb"])
    for name in tracking.TRACKERS:
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ModuleNotFoundError, match=f"tracking with {name} needs a package: pip install {name}"):
            require_trackers([name])
    require_trackers([])
