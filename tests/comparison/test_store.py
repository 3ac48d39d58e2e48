"""The folder of a comparison: what is written in which order."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from saam.comparison import RunRecord
from saam.comparison.job import Finished
from saam.comparison.store import read_values, write_run


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
