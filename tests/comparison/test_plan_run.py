import dataclasses
import importlib
import json

import pytest
import torch

from saam.comparison import RunRecord, network, plan_data, plan_run
from saam.comparison.environment import environment
from saam.comparison.plan_data import load_kept_splits
from saam.comparison.plan_run import run
from saam.data import Images, normalise
from saam.explain import score_use
from saam.models import create_model
from saam.training import Recipe

fitting = importlib.import_module("saam.training.fit")  # the package has a function of this name

UNTIMED = {"seconds": 0.0, "finished": "", "curve": ()}


@pytest.fixture
def seen(monkeypatch):
    """What each run hands to the training: initial weights, the batches of the first epoch, the loader, the seed."""
    handed = []
    train = fitting.train

    def watched(model, batches, *rest, **settings):
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        handed.append((weights, list(batches.epoch(0)), batches, settings["seed"]))
        return train(model, batches, *rest, **settings)

    monkeypatch.setattr(fitting, "train", watched)
    return handed


def test_arms_share_weights_order_and_draws_of_a_seed(make_plan, seen):
    plan = make_plan(recipe=Recipe(epochs=1, batch_size=40))
    for arm in ("none", "se", "saam"):
        run(plan, arm, 7)
    (plain, batches, *_), *others = seen
    for weights, other_batches, *_ in others:
        assert len(weights) > len(plain)
        assert all(torch.equal(weights[name], value) for name, value in plain.items())
        for (x, y), (other_x, other_y) in zip(batches, other_batches, strict=True):
            assert torch.equal(x, other_x)
            assert torch.equal(y, other_y)


def test_seeds_differ_in_weights_order_and_draws(make_plan, seen):
    plan = make_plan(recipe=Recipe(epochs=1, batch_size=40))
    for seed in (0, 1):
        run(plan, "se", seed)
    (first, batches, _, seed), (second, other_batches, _, other_seed) = seen
    assert not torch.equal(first["conv1.weight"], second["conv1.weight"])
    assert not torch.equal(batches[0][1], other_batches[0][1])
    assert (seed, other_seed) == (0, 1)  # of what is drawn in the training itself


def test_batches_are_augmented_as_the_recipe_says_or_else_the_data(make_plan, seen):
    for augmentation in (None, (), ("flip", "crop")):
        run(make_plan(recipe=Recipe(epochs=1, batch_size=40, augmentation=augmentation)), "none", 0)
    assert [batches.augmentation for _, _, batches, _ in seen] == [("crop",), (), ("flip", "crop")]
    assert all(batches.shuffle for _, _, batches, _ in seen)


@pytest.mark.parametrize(("size", "batches"), [(40, 3), (50, 3), (119, 1), (7, 17)])
def test_only_a_last_batch_of_a_single_image_is_left_out(make_plan, seen, size, batches):
    run(make_plan(recipe=Recipe(epochs=1, batch_size=size)), "none", 0)
    assert len(seen[0][1]) == batches


def test_the_test_set_is_opened_once_after_the_last_epoch(make_plan):
    events = []

    class Watched(Images):
        def read(self, chunks):
            events.append("test")
            yield from super().read(chunks)

    plan = make_plan()
    splits = load_kept_splits(plan)
    test = Watched(splits.test.images, splits.test.labels)
    run(plan, "se", 0, splits=dataclasses.replace(splits, test=test), on_epoch=lambda epoch: events.append(epoch.epoch))
    assert events == [1, 2, "test"]


def test_the_record_says_what_was_run_and_what_came_out(make_plan):
    plan = make_plan(start="identity")
    record, model, scores = run(plan, "saam", 3)
    splits = load_kept_splits(plan)
    assert record.id == plan.run_id("saam", 3, fingerprint=splits.fingerprint)
    assert (record.arm, record.seed, record.model, record.model_options) == ("saam", 3, "resnet8", plan.model_options)
    assert (record.data, record.where, record.start) == ("photo-digits", "residual", "identity")
    assert Recipe.from_dict(record.recipe) == plan.recipe
    assert [epoch["epoch"] for epoch in record.curve] == [1, 2]
    last = record.curve[-1]
    assert record.validation == {"accuracy": last["validation_accuracy"], "loss": last["validation_loss"], "count": 50}
    assert record.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert record.environment == environment(torch.device("cpu"))
    with torch.inference_mode():
        x = (splits.test.images / 255 - torch.tensor(splits.mean)[:, None, None]) / torch.tensor(splits.std)[
            :, None, None
        ]
        logits = model.eval()(x)
    assert record.test["count"] == 60
    assert record.test["accuracy"] == pytest.approx(
        100 * (logits.argmax(1) == splits.test.labels).float().mean().item()
    )
    assert record.test["loss"] == pytest.approx(
        torch.nn.functional.cross_entropy(logits, splits.test.labels).item(), rel=1e-5
    )
    torch.testing.assert_close(
        scores.losses, torch.nn.functional.cross_entropy(logits, splits.test.labels, reduction="none")
    )
    assert torch.equal(scores.correct, logits.argmax(1) == splits.test.labels)


def test_a_record_is_as_it_will_be_read(make_plan):
    record, *_ = run(make_plan(model_options={"width": (4, 4, 8)}), "none", 0)
    assert RunRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    assert (record.where, record.start) == ("", "")


def test_a_run_repeats_itself_and_leaves_the_generator(make_plan):
    plan = make_plan()
    state = torch.get_rng_state()
    first, model, scores = run(plan, "saam", 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    run(plan, "se", 1)
    again, model_again, scores_again = run(plan, "saam", 0, splits=load_kept_splits(plan))
    assert torch.equal(scores.losses, scores_again.losses)
    assert dataclasses.replace(first, **UNTIMED) == dataclasses.replace(again, **UNTIMED)
    assert first.curve[-1]["train_loss"] == again.curve[-1]["train_loss"]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), model_again.parameters(), strict=True))


@pytest.mark.parametrize(("arm", "new"), [("se", {"bn2.attention"}), ("none", set())])
def test_what_is_new_in_a_pretrained_network_is_told_to_the_training(make_plan, monkeypatch, arm, new):
    """Pretrained weights are feigned; attention comes on top of them."""
    told = []

    def create(name, *, pretrained=False, **settings):
        return create_model(name, **settings)

    def train(*rest, new_parameters, **settings):
        told.append(set(new_parameters))
        return genuine(*rest, **settings)

    genuine = fitting.train
    monkeypatch.setattr(network, "create_model", create)
    monkeypatch.setattr(fitting, "train", train)
    for pretrained in (True, False):
        run(make_plan(model_options={"width": 8, "stem_stride": 2, "pretrained": pretrained}), arm, 0)
    assert {".".join(name.split(".")[2:4]) for name in told[0]} == new
    assert told[1] == set()


def test_arms_with_a_score_squeeze_say_after_each_epoch_how_much_it_is_used(make_plan):
    sites = {
        "se": [],
        "saam,temperature=0.05": ["layer1.0.bn2", "layer2.0.bn2", "layer3.0.bn2"],  # sharp, so that few steps show
        "none,head=score": ["pool"],
    }
    plan = make_plan(arms=tuple(sites), start="default")
    for arm, expected in sites.items():
        record, model, _ = run(plan, arm, 0)
        used = [epoch["observed"].get("score_use", {}) for epoch in record.curve]
        assert [list(each) for each in used] == [expected, expected]
        assert RunRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
        if expected:
            assert all(use["share"] <= 1 <= use["lift"] for use in used[-1].values())
            assert arm == "none,head=score" or any(use["lift"] > 1.001 for use in used[-1].values())
            splits = load_kept_splits(plan)
            few = splits.validation.select(torch.arange(50))
            x = normalise(next(few.read([torch.arange(50)])), splits.mean, splits.std)
            again = {site: dataclasses.asdict(use) for site, use in score_use(model, x).items()}
            for site, use in used[-1].items():
                assert again[site] == pytest.approx(use, abs=1e-5)


def untimed(record):
    return dataclasses.replace(
        record, seconds=0.0, finished="", curve=tuple({**epoch, "seconds": 0.0} for epoch in record.curve)
    )


def test_a_run_that_was_stopped_goes_on_bit_by_bit(make_plan, tmp_path):
    plan = make_plan(recipe=Recipe(epochs=3, batch_size=40, ema=0.9, mixup=0.2))
    state, seen = tmp_path / "state.pt", []

    def stop(epoch):
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan, "saam", 0, on_epoch=stop, state=state)
    assert state.is_file()
    torch.manual_seed(77)
    resumed = run(plan, "saam", 0, on_epoch=lambda epoch: seen.append(epoch.epoch), state=state)
    whole = run(plan, "saam", 0)
    assert seen == [3]
    assert untimed(resumed.record) == untimed(whole.record)
    assert torch.equal(resumed.scores.losses, whole.scores.losses)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value)
    with pytest.raises(ValueError, match=r"state\.pt holds the state of another run, which differs in run"):
        run(plan, "se", 0, state=state)


def test_a_pretrained_run_trains_on_the_colours_of_its_weights(make_plan, monkeypatch):
    """Pretrained weights are feigned."""
    told = []

    def fit(model, splits, *rest, **settings):
        told.append((splits.mean, splits.std))
        return genuine(model, splits, *rest, **settings)

    genuine = plan_run.fit
    monkeypatch.setattr(
        network, "create_model", lambda name, *, pretrained=False, **settings: create_model(name, **settings)
    )
    monkeypatch.setattr(plan_data, "published_colours", lambda name: ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    monkeypatch.setattr(plan_run, "fit", fit)
    plan = make_plan(model_options={"width": 8, "stem_stride": 2, "pretrained": True})
    run(plan, "none", 0)
    assert told == [((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))]
