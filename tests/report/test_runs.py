"""The networks of a folder, whoever wrote it."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import saam
from saam.comparison import Plan, compare, load_model
from saam.data import Images, build_splits
from saam.models import Preprocessing, create_model, describe
from saam.report.runs import Explained, networks_of
from saam.training import create_recipe, save_checkpoint

PREPROCESSING = Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple("0123456789"))
DATA = {"train": 60, "validation": 20, "test": 30}


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A comparison of arms that were trained for a moment."""
    folder = tmp_path_factory.mktemp("runs") / "comparison"
    plan = Plan(
        recipe=create_recipe("quick", epochs=1, batch_size=30),
        arms=("none", "se", "saam"),
        seeds=(0, 1),
        model="resnet8",
        model_options={"width": 4, "stem_stride": 2},
        data="photo-digits",
        data_options=DATA,
    )
    with ThreadPoolExecutor(1) as threads:
        compare(plan, folder, executor=threads, costs=False)
    return folder


def test_a_comparison_gives_its_score_based_arm(out):
    found = networks_of(out)
    assert found.name == "comparison, saam, seed 0"
    assert list(found.networks) == [0]
    expected = load_model(out, "saam", 0).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in found.networks[0].state_dict().items())
    assert networks_of(out, arm="se", seed=1).name == "comparison, se, seed 1"
    assert list(networks_of(out, all_seeds=True).networks) == [0, 1]
    assert networks_of(out, data=False).splits is None


def test_arms_and_seeds_that_are_not_there_are_named(out, tmp_path):
    with pytest.raises(ValueError, match="unknown arm 'sam': did you mean 'saam'"):
        networks_of(out, arm="sam")
    with pytest.raises(ValueError, match=r"no finished run of saam with seed 5; finished seeds: \[0, 1\]"):
        networks_of(out, seed=5)
    saved = saam.save(load_model(out, "se", 0), tmp_path / "saved")
    with pytest.raises(ValueError, match="holds a single network, not a comparison: leave out arm and seed"):
        networks_of(saved, arm="se")


def test_a_saved_network_needs_no_data_but_a_preprocessing(tmp_path):
    model = create_model("resnet8", width=4)
    with pytest.raises(ValueError, match=r"config.json does not say how images become the input of the network: set"):
        networks_of(saam.save(model, tmp_path / "bare"))
    model.preprocessing = PREPROCESSING
    found = networks_of(saam.save(model, tmp_path / "whole"))
    assert (found.name, found.splits) == ("whole", None)
    with pytest.raises(ValueError, match="whole does not say on what data the network was trained"):
        found.test_images(3)


def test_a_training_without_preprocessing_takes_that_of_its_data(tmp_path):
    model = create_model("resnet8", width=4, stem_stride=2)
    config = json.loads(json.dumps(describe(model))) | {"data": {"name": "photo-digits", "options": DATA}}
    save_checkpoint(tmp_path / "run", model, config)
    found = networks_of(tmp_path / "run", data=False)
    assert found.networks[0].preprocessing.classes == tuple("0123456789")
    assert found.networks[0].preprocessing.size == (32, 32)


def test_a_network_of_another_version_says_so(tmp_path):
    model = create_model("resnet8", width=4)
    model.preprocessing = PREPROCESSING
    folder = saam.save(model, tmp_path / "old")
    config = json.loads((folder / "config.json").read_text())
    config["model"]["name"], config["versions"]["saam"] = "resnet9", "9.9"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"got 9; saam 9.9 wrote it, and this is saam"):
        networks_of(folder)


def test_images_without_an_object_are_left_out():
    def some(count: int, seed: int) -> Images:
        generator = torch.Generator().manual_seed(seed)
        pixels: Tensor = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
        return Images(pixels, torch.arange(count) % 2, torch.ones(count, 8, 8, dtype=torch.bool))

    test = some(6, 2)
    test.masks[2] = False
    parts = some(8, 0), some(4, 1), test
    splits = build_splits(*parts, name="made", label="made", classes=["a", "b"], augmentation=())
    found = Explained("made", {}, splits)
    assert found.test_images(4).indices == [0, 1, 2, 3]
    chosen = found.test_images(4, with_object=True)
    assert chosen.indices == [0, 1, 4, 3]
    assert torch.equal(chosen.pixels, test.images[torch.tensor([0, 1, 4, 3])])
    assert chosen.truths == ["a", "b", "a", "b"]
    assert chosen.masks.flatten(1).all(1).all()
    assert found.test_images(100).labels.shape == (6,)
    with pytest.raises(ValueError, match="does not say on what data"):
        replace(found, splits=None).test_images(1)
