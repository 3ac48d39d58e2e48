import dataclasses
import json
import math

import pytest

from saam.training import Recipe, create_recipe, recipes

ALL_CHANGED = {
    "epochs": 7,
    "batch_size": 33,
    "optimizer": "adamw",
    "learning_rate": 0.03,
    "momentum": 0.8,
    "beta2": 0.99,
    "nesterov": True,
    "weight_decay": 0.002,
    "schedule": "step",
    "milestones": (0.25, 0.5),
    "warmup_fraction": 0.1,
    "label_smoothing": 0.05,
    "ema": 0.99,
    "clip": 2.0,
    "precision": "bf16",
    "channels_last": True,
    "mixup": 0.3,
    "new_parameters_factor": 5.0,
    "augmentation": ("crop", "flip"),
}


def test_json_round_trip_keeps_every_field():
    adamw = Recipe(**{**ALL_CHANGED, "nesterov": False})
    sgd = Recipe(**{**ALL_CHANGED, "optimizer": "sgd"})  # adamw has no nesterov
    plain = Recipe(epochs=1)
    assert ALL_CHANGED.keys() == {field.name for field in dataclasses.fields(Recipe)}
    assert all(value != getattr(plain, name) for name, value in ALL_CHANGED.items())
    for recipe in (adamw, sgd, plain):
        assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_equal_recipes_have_equal_json():
    whole = Recipe(epochs=2, learning_rate=1, schedule="step", milestones=[0.5], augmentation=["flip"])
    exact = Recipe(epochs=2, learning_rate=1.0, schedule="step", milestones=(0.5,), augmentation=("flip",))
    assert whole == exact
    assert json.dumps(whole.to_dict()) == json.dumps(exact.to_dict())
    assert hash(whole) == hash(exact)


def test_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe(epochs=1).epochs = 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("learning_rate", math.inf),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("weight_decay", -1e-4),
        ("weight_decay", math.inf),
        ("schedule", "one-cycel"),
        ("milestones", (0.5, 0.5)),
        ("milestones", (0.7, 0.5)),
        ("milestones", (0.5, 1.0)),
        ("milestones", (0.0,)),
        ("milestones", ("half",)),
        ("warmup_fraction", 1.0),
        ("label_smoothing", 1.0),
        ("ema", 1.0),
        ("clip", -1.0),
        ("precision", "float16"),
        ("new_parameters_factor", 0.0),
        ("augmentation", ("crop", 3)),
    ],
)
def test_value_out_of_range(name, value):
    fields = {"epochs": 3, "schedule": "step"} | {name: value}
    with pytest.raises(ValueError, match=rf"recipe:? {name}.*{'known' if type(value) is str else 'got'}"):
        Recipe(**fields)


@pytest.mark.parametrize(("name", "value"), [(name, object()) for name in ALL_CHANGED])
def test_wrong_type_is_named(name, value):
    with pytest.raises(TypeError, match=rf"recipe: {name} must be .*, got <object"):
        Recipe(**({"epochs": 3} | {name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 2.0), ("epochs", True), ("learning_rate", True), ("nesterov", 1), ("augmentation", "flip")],
)
def test_near_miss_of_a_type(name, value):
    with pytest.raises(TypeError, match=f"recipe: {name} must be"):
        Recipe(**({"epochs": 3} | {name: value}))


def test_fields_that_contradict_each_other():
    with pytest.raises(ValueError, match="'cosine' has no milestones: pass milestones="):
        Recipe(epochs=3, schedule="cosine", milestones=(0.5,))
    with pytest.raises(ValueError, match="nesterov needs a momentum above 0"):
        Recipe(epochs=3, nesterov=True, momentum=0.0)


def test_replace_checks_names_and_values():
    recipe = Recipe(**{**ALL_CHANGED, "nesterov": False})
    assert recipe.replace(epochs=9) == Recipe(**(ALL_CHANGED | {"nesterov": False, "epochs": 9}))
    with pytest.raises(ValueError, match="unknown recipe field 'learnin_rate': did you mean 'learning_rate'"):
        recipe.replace(learnin_rate=0.1)
    with pytest.raises(ValueError, match="epochs must be a whole number, 1 or above, got -1"):
        recipe.replace(epochs=-1)


def test_unknown_fields_are_refused():
    with pytest.raises(ValueError, match="unknown recipe field 'epoch': did you mean 'epochs'"):
        Recipe.from_dict({"epoch": 3})


def test_every_named_recipe_is_described_and_made():
    assert {"demo", "quick", "cifar", "finetune"} <= set(recipes())
    for name, purpose in recipes().items():
        assert len(purpose) > 20
        assert create_recipe(name, epochs=5).epochs == 5
    with pytest.raises(ValueError, match="unknown recipe 'cifr': did you mean 'cifar'"):
        create_recipe("cifr")


def test_cifar_recipe_drops_after_epochs_81_and_122():
    cifar = create_recipe("cifar")
    assert (cifar.epochs, cifar.batch_size, cifar.learning_rate) == (164, 128, 0.1)
    assert (cifar.momentum, cifar.weight_decay) == (0.9, 5e-4)
    assert [round(milestone * cifar.epochs) for milestone in cifar.milestones] == [81, 122]
