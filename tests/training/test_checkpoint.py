import json
import os
import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from mutations import mutate
from saam.training import EpochRecord, check_writable, load_checkpoint, save_checkpoint, writable

CONFIG = {"model": "resnet8", "classes": ["a", "b"], "width": 16}
CURVE = (EpochRecord(1, 0.1, 2.25, 20.0, 2.0, 25.5, 1.5), EpochRecord(2, 0.05, 1.5, 50.0, 1.25, 55.0, 1.25))


def build(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_round_trip(tmp_path):
    model = build(0).to(memory_format=torch.channels_last)
    model[1].running_mean.normal_(generator=torch.Generator().manual_seed(1))
    folder = save_checkpoint(tmp_path / "run" / "best", model, CONFIG, CURVE)
    assert sorted(contents(folder)) == ["config.json", "curves.json", "model.safetensors"]
    loaded = load_checkpoint(str(folder))
    assert loaded.config == CONFIG
    assert loaded.curve == CURVE
    other = build(1)
    assert not torch.equal(other[0].weight, model[0].weight)
    other.load_state_dict(loaded.weights)
    assert loaded.weights.keys() == model.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_tied_weights_are_kept_twice(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    weights = load_checkpoint(save_checkpoint(tmp_path, model, {})).weights
    assert torch.equal(weights["0.weight"], model[0].weight)
    assert torch.equal(weights["1.weight"], model[0].weight)


@pytest.mark.parametrize("victim", ["model.safetensors", "config.json", "curves.json"])
def test_a_failure_midway_leaves_the_old_checkpoint_whole(tmp_path, monkeypatch, victim):
    save_checkpoint(tmp_path, build(0), CONFIG, CURVE)
    old = contents(tmp_path)
    real = Path.open

    def full_disk(self, *args, **options):
        if victim in self.name:
            raise OSError(28, "No space left on device")
        return real(self, *args, **options)

    monkeypatch.setattr(Path, "open", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, build(1), {"other": 1}, CURVE[:1])
    monkeypatch.undo()
    assert contents(tmp_path) == old


@pytest.mark.parametrize(("config", "error"), [({"a": object()}, TypeError), ({"a": float("nan")}, ValueError)])
def test_what_is_not_json_spoils_nothing(tmp_path, config, error):
    save_checkpoint(tmp_path, build(0), CONFIG, CURVE)
    old = contents(tmp_path)
    with pytest.raises(error, match="JSON"):
        save_checkpoint(tmp_path, build(1), config)
    assert contents(tmp_path) == old


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "curves.json"])
def test_missing_file(tmp_path, missing):
    save_checkpoint(tmp_path, build(0), CONFIG, CURVE)
    (tmp_path / missing).unlink()
    with pytest.raises(FileNotFoundError, match=f"no checkpoint in .*: {missing} is missing"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("damaged", ["model.safetensors", "config.json", "curves.json"])
def test_damaged_file(tmp_path, damaged):
    save_checkpoint(tmp_path, build(0), CONFIG, CURVE)
    (tmp_path / damaged).write_bytes((tmp_path / damaged).read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"is damaged .*: train again or restore it"):
        load_checkpoint(tmp_path)


def test_curve_of_another_kind(tmp_path):
    save_checkpoint(tmp_path, build(0), CONFIG, CURVE)
    (tmp_path / "curves.json").write_text(json.dumps([{"epoch": 1}]))
    with pytest.raises(ValueError, match="is damaged"):
        load_checkpoint(tmp_path)


def test_check_writable(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write to .*file/run \(Not a directory\): choose another folder"):
        check_writable(tmp_path / "file" / "run")
    with pytest.raises(OSError, match=r"cannot write to .*file \(File exists\): choose another folder"):
        check_writable(tmp_path / "file")
    with pytest.raises(OSError, match=r"cannot write to /proc/self .*: choose another folder"):
        check_writable("/proc/self")


def test_folders_that_stay_empty_are_taken_away_again(tmp_path):
    def fail(folder):
        with writable(folder):
            assert folder.is_dir()
            raise KeyboardInterrupt

    (tmp_path / "old").mkdir()
    for folder in (tmp_path / "new" / "folder", tmp_path / "old", tmp_path / "old" / "new"):
        with pytest.raises(KeyboardInterrupt):
            fail(folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]
    with writable(tmp_path / "new" / "folder"):
        (tmp_path / "new" / "folder" / "file").touch()
    assert (tmp_path / "new" / "folder" / "file").is_file()
    with pytest.raises(OSError, match="cannot write to"), writable(tmp_path / "new" / "folder" / "file"):
        pass


@pytest.mark.parametrize("name", ["config.json", "curves.json"])
def test_mutations(tmp_path, name):
    save_checkpoint(tmp_path, build(0), CONFIG, CURVE)
    whole, draw = (tmp_path / name).read_bytes(), random.Random(name)
    for _ in range(100):
        (tmp_path / name).write_bytes(mutate(whole, draw))
        with suppress(ValueError):
            checkpoint = load_checkpoint(tmp_path)
            assert all(isinstance(record.train_loss, int | float) for record in checkpoint.curve)
            assert isinstance(checkpoint.config, dict)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes there")
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "curves.json"])
def test_a_pipe_does_not_block(tmp_path, name):
    save_checkpoint(tmp_path, build(0), CONFIG, CURVE)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match="is not a regular file"):
        load_checkpoint(tmp_path)
