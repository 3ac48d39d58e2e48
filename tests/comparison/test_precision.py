"""The precision "auto": measured once, before the first run, and kept."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from saam.comparison import precision as module
from saam.comparison.comparison import load_comparison
from saam.comparison.driver import drive
from saam.comparison.plan_file import kept_precision
from saam.comparison.precision import resolve_precision
from saam.models import create_model
from saam.training import Recipe

AUTO = Recipe(epochs=1, batch_size=8, precision="auto")
SIZES = {"image_size": (16, 12), "images": 100, "device": "cpu"}


def network():
    return create_model("resnet8", width=8, seed=0)


@pytest.fixture
def measured(monkeypatch):
    """Times that are told; what was timed is noted."""
    seen, told = [], {"no": [1.0, 1.0, 1.0], "bf16": [0.9, 0.9, 9.0]}

    def take_turns(works, **settings):
        for work in works.values():
            work()
        seen.append((tuple(works), torch.get_num_threads(), settings["device"].type))
        return told

    monkeypatch.setattr(module, "take_turns", take_turns)
    return seen, told


@pytest.mark.parametrize(("share", "expected"), [(0.9, "bf16"), (0.95, "bf16"), (0.96, "no"), (1.5, "no")])
def test_bf16_is_taken_where_its_median_is_five_percent_faster(measured, share, expected):
    measured[1]["bf16"] = [share, share, 9.0]
    assert resolve_precision(AUTO, network(), **SIZES) == AUTO.replace(precision=expected)


def test_network_generator_and_threads_stay_as_they_are(measured):
    model, state, threads = network(), torch.get_rng_state(), torch.get_num_threads()
    before = copy.deepcopy(model.state_dict())
    resolve_precision(AUTO, model, threads=threads + 1, **SIZES)
    assert measured[0] == [(("no", "bf16"), threads + 1, "cpu")]
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_both_precisions_are_timed_on_batches_of_the_recipe(monkeypatch):
    seen = []

    class Noted(nn.Linear):
        def forward(self, x):
            seen.append((len(x), torch.is_autocast_enabled("cpu")))
            return super().forward(x)

    model = nn.Sequential(nn.Flatten(), Noted(3 * 16 * 12, 2))
    assert resolve_precision(AUTO, model, **{**SIZES, "images": 5}).precision in ("no", "bf16")
    assert set(seen) == {(5, False), (5, True)}


def test_what_is_known_or_given_is_not_measured(measured):
    assert resolve_precision(AUTO, network(), known="bf16", **SIZES).precision == "bf16"
    for given in ("no", "bf16", "fp16"):
        recipe = AUTO.replace(precision=given)
        assert resolve_precision(recipe, network(), **SIZES) is recipe
    assert not measured[0]


def test_a_network_that_knows_no_bfloat16_gets_float32():
    class Strict(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3 * 16 * 12, 2)

        def forward(self, x):
            y = self.linear(x.flatten(1))
            if y.dtype != torch.float32:
                raise RuntimeError("not implemented for 'BFloat16'")
            return y

    assert resolve_precision(AUTO, Strict(), **SIZES).precision == "no"


def test_a_comparison_measures_once_and_keeps_what_it_found(make_plan, measured, tmp_path):
    plan = make_plan(recipe=Recipe(epochs=1, batch_size=40, precision="auto"), arms=("none", "se"), seeds=(0,))
    first = drive(plan, tmp_path / "out", workers=1, costs=False)
    assert len(measured[0]) == 1
    assert first.plan.recipe.precision == "bf16"
    assert [record.recipe["precision"] for record in first.records] == ["bf16"] * 2
    assert not first.failures
    assert load_comparison(tmp_path / "out").plan == first.plan
    measured[1]["bf16"] = [9.0] * 3  # the machine is another one now
    longer = replace(plan, seeds=(0, 1))
    assert drive(longer, tmp_path / "out", workers=1, costs=False).records[:2] == first.records
    assert len(measured[0]) == 1
    assert kept_precision(tmp_path / "out") == "bf16"
    assert kept_precision(tmp_path / "none") == ""
