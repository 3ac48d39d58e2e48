import pytest

from saam.comparison import plan_data
from saam.comparison.plan_data import load_kept_splits, load_splits, summary_of
from saam.data.cache import downloads_allowed


def test_data_stay_loaded_for_the_next_run(make_plan):
    plan = make_plan()
    assert load_kept_splits(plan) is load_kept_splits(make_plan(arms=("se",), seeds=(4,)))
    assert load_kept_splits(
        make_plan(data_options={"train": 60, "validation": 50, "test": 60})
    ) is not load_kept_splits(plan)


def test_images_are_normalised_as_pretrained_weights_expect(make_plan):
    own = load_kept_splits(make_plan(model="timm:test_resnet", model_options={}))
    published = load_kept_splits(make_plan(model="timm:test_resnet", model_options={"pretrained": True}))
    assert published.mean == (0.5, 0.5, 0.5) != own.mean  # what timm publishes for this network
    assert published.std == (0.5, 0.5, 0.5) != own.std
    assert published.train is own.train
    assert published.fingerprint == own.fingerprint


def test_a_file_of_a_stranger_may_not_download_and_says_no_place(make_plan, monkeypatch, tmp_path):
    plan = make_plan()
    assert load_splits(plan) is load_kept_splits(plan)  # the same data in memory
    asked = []

    def load_data(name, **options):
        asked.append((options, downloads_allowed()))
        raise FileNotFoundError("enough")

    monkeypatch.setattr(plan_data, "load_data", load_data)
    options = {**plan.data_options, "train": 61}
    elsewhere = make_plan(data_options={**options, "root": str(tmp_path)})
    for load in (load_splits, load_kept_splits):
        with pytest.raises(FileNotFoundError, match="enough"):
            load(elsewhere)
    assert asked == [({**options, "root": str(tmp_path)}, True), (options, False)]


def test_what_a_comparison_must_know_of_its_data(make_plan):
    splits = load_splits(make_plan())
    found = summary_of(splits)
    assert (found.fingerprint, found.classes, found.images) == (splits.fingerprint, 10, len(splits.train))
    assert found.image_size == splits.train.shape == found.preprocessing.size
    assert found.preprocessing.classes == splits.classes
