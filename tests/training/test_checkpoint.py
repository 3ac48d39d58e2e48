import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from saam.training import EpochRecord, save_checkpoint

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
    weights = load_file(folder / "model.safetensors")
    assert json.loads((folder / "config.json").read_text()) == CONFIG
    curve = json.loads((folder / "curves.json").read_text())
    assert tuple(EpochRecord(**record) for record in curve) == CURVE
    other = build(1)
    assert not torch.equal(other[0].weight, model[0].weight)
    other.load_state_dict(weights)
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_tied_weights_are_kept_twice(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    weights = load_file(save_checkpoint(tmp_path, model, {}) / "model.safetensors")
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
