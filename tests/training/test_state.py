"""The state of a run, damaged in some hundred ways: one clear error that names the file, or the state as it was."""

import os
import random
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from saam.training import EpochRecord, Group, Recipe, Stepper
from saam.training.state import load_state, save_state

MUTATIONS = 300
RECIPE = Recipe(epochs=3, ema=0.9)
RUN = {"seed": 0, "recipe": RECIPE.to_dict(), "data": "f00d"}
CURVE = [EpochRecord(1, 0.1, 2.0, 10.0, 2.1, 9.0, 1.0, {"score_use": {"bn": {"share": 0.5}}})]


def stepper() -> Stepper:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    return Stepper(model, RECIPE, Group(0, 1, torch.device("cpu")))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    trained = stepper()
    trained.step(torch.randn(5, 3, 4, 4), torch.tensor([0, 1, 0, 1, 1]), 0.5)
    save_state(tmp_path / "state.pt", RUN, trained, CURVE)
    return tmp_path / "state.pt"


def test_a_state_comes_back_whole(state: Path) -> None:
    saved, other = torch.load(state), stepper()
    assert load_state(state, RUN, other) == CURVE
    for part, content in other.state_dict().items():
        for key, value in content.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, saved[part][key]), (part, key)
    found, kept = (each["optimizer"]["state"] for each in (other.state_dict(), saved))
    assert found.keys() == kept.keys() != set()
    for number, entries in kept.items():
        assert torch.equal(found[number]["momentum_buffer"], entries["momentum_buffer"])
    assert load_state(state.with_name("none.pt"), RUN, other) == []


def damaged(content: bytes, draw: random.Random) -> bytes:
    how = draw.choice(["byte"] * 4 + ["cut", "insert", "zeros", "swap", "end"])
    at = draw.randrange(len(content))
    if how == "byte":
        return content[:at] + bytes([draw.randrange(256)]) + content[at + 1 :]
    if how == "cut":
        return content[:at]
    if how == "insert":
        return content[:at] + draw.randbytes(draw.choice([1, 8, 100])) + content[at:]
    if how == "zeros":
        return content[:at] + bytes(min(64, len(content) - at)) + content[at + 64 :]
    if how == "swap":
        return content[at:] + content[:at]
    at = max(0, len(content) - draw.randrange(1, 200))  # the directory of the archive
    return content[:at] + draw.randbytes(1) + content[at + 1 :]


def test_a_damaged_state_is_an_error_that_names_it(state: Path) -> None:
    content, draw, refused = state.read_bytes(), random.Random(0), 0
    target = stepper()
    for _ in range(MUTATIONS):
        state.write_bytes(damaged(content, draw))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                curve = load_state(state, RUN, target)
        except ValueError as error:
            assert str(state) in str(error)  # noqa: PT017
            assert "remove it to start anew" in str(error)  # noqa: PT017
            refused += 1
        else:
            assert all(isinstance(record, EpochRecord) for record in curve)
    assert refused > MUTATIONS // 4


class Stranger:
    """What runs a command as it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch run-by-a-state",)


@pytest.mark.parametrize("place", ["whole", "run", "model"])
def test_a_state_runs_no_code(state: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(state.parent)
    saved = torch.load(state)
    torch.save(Stranger() if place == "whole" else {**saved, place: Stranger()}, state)
    with pytest.raises(ValueError, match=r"state\.pt is damaged: remove it to start anew"):
        load_state(state, RUN, stepper())
    assert [path.name for path in state.parent.iterdir()] == ["state.pt"]
