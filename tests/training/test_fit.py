"""From initial weights to the test set: what `fit` hands to the training."""

import importlib

import pytest
import torch
from torch import nn

from saam.data import Images, Splits, build_splits
from saam.training import Recipe, fit

module = importlib.import_module("saam.training.fit")  # the package has a function of this name


@pytest.fixture
def splits() -> Splits:
    def some(count: int, seed: int) -> Images:
        pixels = torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
        return Images(pixels.to(torch.uint8), torch.arange(count) % 3)

    parts = some(24, 0), some(9, 1), some(12, 2)
    return build_splits(*parts, name="made", label="made", classes=list("abc"), augmentation=("flip",))


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


def test_the_batches_are_as_the_recipe_says(splits, monkeypatch):
    handed = {}

    def train(model, batches, validation, recipe, **settings):
        handed.update(batches=batches, validation=validation, **settings)
        return genuine(model, batches, validation, recipe, **settings)

    genuine = module.train
    monkeypatch.setattr(module, "train", train)
    recipe = Recipe(epochs=1, batch_size=10, mixup=0.4, augmentation=("cutout",))
    fit(network(), splits, recipe, seed=3, device="cpu")
    batches = handed["batches"]
    assert (batches.mixup, batches.classes, batches.batch_size) == (0.4, 3, 10)
    assert (batches.augmentation, batches.seed, batches.shuffle) == (("cutout",), 3, True)
    assert (handed["validation"].augmentation, handed["validation"].mixup, handed["seed"]) == ((), 0.0, 3)
    x, y = next(iter(batches))
    assert y.shape == (len(x), 3)


def test_it_reports_each_epoch_and_the_scores_of_each_test_image(splits):
    model = network()
    fitted = fit(model, splits, Recipe(epochs=2, batch_size=8), seed=0, device="cpu")
    assert [record.epoch for record in fitted.result.curve] == [1, 2]
    x = (splits.test.images / 255 - torch.tensor(splits.mean).view(3, 1, 1)) / torch.tensor(splits.std).view(3, 1, 1)
    with torch.inference_mode():
        logits = model.eval()(x)
    torch.testing.assert_close(
        fitted.test.losses, nn.functional.cross_entropy(logits, splits.test.labels, reduction="none")
    )
    assert torch.equal(fitted.test.correct, logits.argmax(1) == splits.test.labels)
    assert fitted.test.mean().count == 12


def test_what_is_observed_is_the_validated_network_on_validation_images(splits):
    seen = []

    def observe(model, x):
        seen.append((model.training, x.shape, x.clone()))
        return {"mean": float(x.mean())}

    fitted = fit(network(), splits, Recipe(epochs=2, batch_size=8), seed=0, device="cpu", observe=observe)
    assert [shape for _, shape, _ in seen] == [(9, 3, 8, 8)] * 2
    mean, std = torch.tensor(splits.mean).view(3, 1, 1), torch.tensor(splits.std).view(3, 1, 1)
    torch.testing.assert_close(seen[0][2], (splits.validation.images / 255 - mean) / std)
    assert [record.observed for record in fitted.result.curve] == [{"mean": float(x.mean())} for _, _, x in seen]


def test_mixup_changes_what_is_learned(splits):
    weights = []
    for mixup in (0.0, 0.4):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = network()
        fit(model, splits, Recipe(epochs=1, batch_size=8, mixup=mixup), seed=0, device="cpu")
        weights.append(model[0].weight)
    assert not torch.equal(*weights)
