from saam.comparison.plan_data import load_kept_splits


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
