"""Folders from which networks are exported."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import saam
from saam.comparison import Plan, compare
from saam.export import open_run
from saam.models import describe
from saam.training import create_recipe, save_checkpoint
from small_networks import SMALL

DATA = {"train": 120, "validation": 40, "test": 60}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "cmp"
    options = {"width": 4, "stem_stride": 2}
    recipe = create_recipe("demo", epochs=1, batch_size=60)
    plan = Plan(recipe=recipe, arms=("none", "saam"), seeds=(0, 1), model_options=options, data_options=DATA)
    with ThreadPoolExecutor(1) as executor:
        compare(plan, out=out, costs=False, executor=executor)
    return out


def saved(folder, **config):
    network = saam.create_model("resnet8", attention="saam", width=4, num_classes=3, seed=0)
    save_checkpoint(folder, network, {**describe(network), **config})
    return network


def test_a_comparison_gives_its_focus_arm_and_best_seed(compared):
    run = open_run(compared)
    accuracies = {
        record["seed"]: record["validation"]["accuracy"]
        for record in (json.loads(file.read_text()) for file in (compared / "runs").glob("*.json"))
        if record["arm"] == "saam"
    }
    best = max(sorted(accuracies), key=accuracies.__getitem__)
    assert run.title == f"cmp, saam, seed {best}"
    assert run.name == f"cmp-saam-{best}"
    assert run.preprocessing.size == (32, 32)
    assert len(run.splits.test) == DATA["test"]
    assert open_run(compared, arm="none", seed=1).title == "cmp, none, seed 1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arm": "eca"}, "has no arm 'eca': expected one of none, saam"),
        ({"seed": 7}, r"has no finished run of 'saam' with seed 7: expected one of \[0, 1\]"),
    ],
)
def test_a_run_that_a_comparison_lacks(compared, options, message):
    with pytest.raises(ValueError, match=message):
        open_run(compared, **options)


def test_a_saved_network(tmp_path):
    network = saved(tmp_path / "net").eval()
    network.preprocessing = SMALL
    saam.save(network, tmp_path / "own")
    run = open_run(tmp_path / "own")
    assert (run.title, run.preprocessing) == ("own", SMALL)
    x = torch.randn(1, 3, 16, 20)
    torch.testing.assert_close(run.network(x), network(x))
    with pytest.raises(ValueError, match="holds one network, not a comparison: leave --arm and --seed out"):
        open_run(tmp_path / "own", seed=0)


def test_without_preprocessing_the_data_set_tells(tmp_path):
    saved(tmp_path / "net")
    with pytest.raises(ValueError, match=r"does not say how images become the input .* pass --data NAME"):
        _ = open_run(tmp_path / "net").preprocessing
    data = {"name": "photo-digits", "options": DATA}
    saved(tmp_path / "trained", data=data)
    wanted = open_run(tmp_path / "trained").preprocessing
    assert wanted.size == (32, 32)
    given = ",".join(["photo-digits", *(f"{key}={value}" for key, value in DATA.items())])
    assert open_run(tmp_path / "net", data=given).preprocessing == wanted


def test_damage_and_other_versions(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        open_run(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="no saved network in"):
        open_run(tmp_path)
    saved(tmp_path / "net")
    weights = tmp_path / "net" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="is damaged"):
        open_run(tmp_path / "net")
    network = saved(tmp_path / "newer")
    config = describe(network)
    config["versions"]["saam"] = "9.0"
    config["surgery"] = [{"do": "transplant"}]
    (tmp_path / "newer" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"was written by saam 9\.0, and this is saam .*: install that version"):
        open_run(tmp_path / "newer")
    (tmp_path / "study.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a study: pass one of the comparisons in it"):
        open_run(tmp_path)
