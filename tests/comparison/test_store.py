"""The folder of a comparison: what is written in which order."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from saam.comparison import RunRecord, compare, load_comparison
from saam.comparison.metrics import ACCURACY, LOSS
from saam.comparison.records import Finished
from saam.comparison.store import make_states, read_values, tidy_states, write_costs, write_run


@pytest.fixture
def finished(make_record) -> Finished:
    record: RunRecord = make_record(id="0123456789abcdef")
    scores = {"loss": torch.tensor([0.25, 3.0]).half(), "accuracy": torch.tensor([100.0, 0.0]).half()}
    return Finished(record, save({"weight": torch.zeros(3)}), save(scores))


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_a_record_is_seen_only_with_its_weights_and_scores(finished, tmp_path: Path, monkeypatch, done: int) -> None:
    """A kill between any two of the three."""
    replace, replaced = Path.replace, []

    def killed(self: Path, target: Path) -> Path:
        if len(replaced) == done:
            raise KeyboardInterrupt
        replaced.append(target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    if done < 3:
        with pytest.raises(KeyboardInterrupt):
            write_run(tmp_path, finished)
    else:
        write_run(tmp_path, finished)
    there = [bool(list((tmp_path / folder).iterdir())) for folder in ("weights", "scores", "runs")]
    assert sum(there) == done
    assert there[2] == (done == 3)


def test_a_finished_run_leaves_no_state_and_nothing_half_written(finished, tmp_path: Path) -> None:
    other = "fedcba9876543210"
    for folder in ("states", "weights", "runs"):
        (tmp_path / folder).mkdir()
    mine = ["states/0123456789abcdef.pt", "states/0123456789abcdef.json", "states/.0123456789abcdef.pt.77"]
    mine += ["weights/.0123456789abcdef.safetensors.77", "runs/.0123456789abcdef.json.77"]
    theirs = [f"states/{other}.pt", f"weights/.{other}.safetensors.88"]
    for name in (*mine, *theirs):
        (tmp_path / name).write_text("x")
    write_run(tmp_path, finished)
    assert not any((tmp_path / name).exists() for name in mine)
    assert all((tmp_path / name).exists() for name in theirs)


def test_scores_by_image_come_back(finished, tmp_path: Path) -> None:
    write_run(tmp_path, finished)
    values = read_values(tmp_path, finished.record.id)
    assert {name: value.tolist() for name, value in values.items()} == {"loss": [0.25, 3.0], "accuracy": [100.0, 0.0]}
    assert {value.dtype for value in values.values()} == {torch.float32}
    with pytest.raises(FileNotFoundError):
        read_values(tmp_path, "another")


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"loss": torch.zeros(2), "accuracy": torch.zeros(1)}, "it has scores of 1 and of 2 images"),
        ({"loss": torch.zeros(2, 2)}, "'loss' is not one number for each image"),
        ({"loss": torch.zeros(2, dtype=torch.complex64)}, "'loss' is not one number for each image"),
    ],
)
def test_scores_that_do_not_fit_the_images_are_refused_by_file(finished, tmp_path: Path, scores, message: str) -> None:
    write_run(tmp_path, finished._replace(scores=save(scores)))
    with pytest.raises(
        ValueError, match=rf"{finished.record.id}\.safetensors does not hold scores by image .*{message}"
    ):
        read_values(tmp_path, finished.record.id)


def test_costs_are_found_whoever_wrote_the_plan_last(make_plan, ran, executor, tmp_path):
    plan = make_plan(arms=("none", "se"), seeds=(0,))
    measured = compare(plan, tmp_path, executor=executor).costs
    assert {cost.arm for cost in measured} == {"none", "se"}
    again = compare(plan, tmp_path, executor=executor, threads=2, costs=False)
    assert again.costs == measured == load_comparison(tmp_path).costs
    write_costs(tmp_path, measured[:1], "0123")  # another machine's
    assert load_comparison(tmp_path).costs == measured[:1]


def test_costs_of_an_arm_that_means_something_else_now_are_measured_again(make_plan, ran, executor, tmp_path):
    for heads in (4, 8):
        plan = make_plan(arms={"none": "none", "mine": f"saam,heads={heads}"}, seeds=(heads,))
        compare(plan, tmp_path / str(heads), executor=executor)
    ids = [json.loads((tmp_path / str(heads) / "plan.json").read_text())["costs"] for heads in (4, 8)]
    assert ids[0] != ids[1]


def test_a_metric_stays_as_it_was_declared_before_the_first_run(make_plan, ran, executor, tmp_path):
    plan = make_plan(arms=("none", "se"), seeds=(0,))
    compare(plan, tmp_path, executor=executor, costs=False)
    for change in ({"spread": 5.0}, {"delta": 9.0}):
        other = replace(plan, metrics=(replace(ACCURACY, **change), LOSS))
        with pytest.raises(
            ValueError, match=rf"metric accuracy has {next(iter(change))} .*, fixed before the first run"
        ):
            compare(other, tmp_path, executor=executor, costs=False)
    for file in (tmp_path / "runs").iterdir():
        file.unlink()
    compare(other, tmp_path, executor=executor, costs=False)


def test_the_folder_of_states_stays_while_another_driver_is_at_work(tmp_path):
    make_states(tmp_path)
    (tmp_path / "leases").mkdir()
    tidy_states(tmp_path)
    assert (tmp_path / "states").is_dir()
    (tmp_path / "leases").rmdir()
    tidy_states(tmp_path)
    assert not (tmp_path / "states").exists()
