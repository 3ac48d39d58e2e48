"""Recipes: all settings of a training run except the model, the data and the seed."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from saam._core.errors import unknown
from saam.training.schedule import SCHEDULES

__all__ = ["OPTIMIZERS", "PRECISIONS", "Recipe", "create_recipe", "recipes"]

PRECISIONS = ("no", "bf16", "fp16", "auto")
OPTIMIZERS = ("sgd", "adamw")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training run, checked when created.

    Args:
        epochs: Passes over the training images.
        batch_size: Images per step, over all processes. Used by the code that makes the batches.
        optimizer: "sgd", with momentum, or "adamw" (Loshchilov & Hutter, arXiv 1711.05101).
        learning_rate: Highest learning rate of the run.
        momentum: In [0, 1); of AdamW the decay of the first moment.
        beta2: Decay of AdamW's second moment, in [0, 1); SGD has none.
        nesterov: Whether to use Nesterov momentum; only for SGD.
        weight_decay: Decay of weight matrices and kernels only (`parameter_groups`).
        schedule: "one-cycle", "step" or "cosine" (module `schedule`).
        milestones: Shares of the run, rising in (0, 1), at which the "step" schedule drops tenfold.
        warmup_fraction: Share of the run in which the learning rate rises, in [0, 1).
        label_smoothing: Share of the target spread over all classes, in [0, 1). Not used for scores.
        ema: Decay per step of the moving average of weights and buffers that is validated and kept; 0 disables it.
        clip: Largest norm of the gradient over all parameters; 0 disables it.
        precision: "no" (float32), "bf16", or "fp16" (not on a CPU): automatic mixed precision of the training steps.
            "auto": the faster one of "no" and "bf16"; comparisons and ``saam train`` measure it before they start, and
            keep the recipe with what they found. `train` itself does not take it.
        channels_last: Whether images and kernels are in channels-last memory order.
        mixup: Alpha of mixup (Zhang et al., arXiv 1710.09412); 0 disables it. Used by the code that makes the batches.
        new_parameters_factor: Factor on the learning rate of the new parameters, see `train`.
        augmentation: Names of augmentations, or None for those of the data. Used by the code that makes the batches.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If a field is out of range, or two fields contradict each other.

    >>> recipe = Recipe(epochs=10, schedule="step", milestones=(0.5, 0.75), warmup_fraction=0.0)
    >>> Recipe.from_dict(recipe.to_dict()) == recipe
    True
    """

    epochs: int
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    beta2: float = 0.999
    nesterov: bool = False
    weight_decay: float = 5e-4
    schedule: str = "one-cycle"
    milestones: tuple[float, ...] = ()
    warmup_fraction: float = 0.3
    label_smoothing: float = 0.0
    ema: float = 0.0
    clip: float = 0.0
    precision: str = "no"
    channels_last: bool = False
    mixup: float = 0.0
    new_parameters_factor: float = 1.0
    augmentation: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            kind, accepts, expected = _CHECKS[field.name]
            value = _canonical(getattr(self, field.name), kind)
            if type(value) is not kind and not (field.name == "augmentation" and value is None):
                raise TypeError(f"recipe: {field.name} must be {expected}, got {value!r:.80}")
            if not accepts(value):
                raise ValueError(f"recipe: {field.name} must be {expected}, got {value!r:.80}")
            object.__setattr__(self, field.name, value)
        for name, choices in (("schedule", SCHEDULES), ("precision", PRECISIONS), ("optimizer", OPTIMIZERS)):
            if (value := getattr(self, name)) not in choices:
                raise unknown(f"recipe {name}", value, choices)
        if self.milestones and self.schedule != "step":
            raise ValueError(f"recipe: schedule {self.schedule!r} has no milestones: pass milestones=()")
        if self.nesterov and self.optimizer == "adamw":
            raise ValueError("recipe: adamw has no nesterov: pass nesterov=False or optimizer='sgd'")
        if self.nesterov and self.momentum == 0:
            raise ValueError("recipe: nesterov needs a momentum above 0: pass momentum=0.9 or nesterov=False")

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed, after checking it (see `from_dict` for the errors)."""
        return self.from_dict(self.to_dict() | changes)

    def for_images(self, count: int) -> Self:
        """Return the recipe with a batch size that this number of training images can fill."""
        return self.replace(batch_size=min(self.batch_size, count))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON values: numbers, strings, lists, None."""
        fields = dataclasses.asdict(self).items()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in fields}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Return the recipe with these fields, the inverse of `to_dict`.

        Raises:
            TypeError: If a field has the wrong type, or epochs are missing.
            ValueError: If there is no such field, or a value is out of range.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in fields:
            if name not in known:
                raise unknown("recipe field", name, known)
        return cls(**fields)


def recipes() -> dict[str, str]:
    """Return the names of all recipes, each with its purpose in one line."""
    return {name: purpose for name, (purpose, _) in _RECIPES.items()}


def create_recipe(name: str, **changes: Any) -> Recipe:
    """Return a recipe by name, with some fields changed.

    Raises:
        TypeError: If a changed field has the wrong type.
        ValueError: If there is no such recipe or field, or a value is out of range.

    >>> create_recipe("cifar", epochs=20).epochs
    20
    """
    if name not in _RECIPES:
        raise unknown("recipe", name, _RECIPES)
    return _RECIPES[name][1].replace(**changes)


def _canonical(value: Any, kind: type) -> Any:
    """Convert numbers to floats and lists to tuples as the fields require, so that equal recipes have equal JSON."""
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(_canonical(item, float) for item in value)
    return value


# field -> its type, accepted values, and a description of these
_Check = tuple[type, Callable[[Any], bool], str]
_BELOW_ONE: _Check = (float, lambda value: 0 <= value < 1, "a number in [0, 1)")
_POSITIVE: _Check = (float, lambda value: 0 < value < math.inf, "a number above 0")
_NOT_NEGATIVE: _Check = (float, lambda value: 0 <= value < math.inf, "a number, 0 or above")
_COUNT: _Check = (int, lambda value: value >= 1, "a whole number, 1 or above")
_SWITCH: _Check = (bool, lambda value: True, "True or False")
_CHECKS: dict[str, _Check] = {
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "optimizer": (str, lambda value: True, f"one of {', '.join(OPTIMIZERS)}"),
    "learning_rate": _POSITIVE,
    "momentum": _BELOW_ONE,
    "beta2": _BELOW_ONE,
    "nesterov": _SWITCH,
    "weight_decay": _NOT_NEGATIVE,
    "schedule": (str, lambda value: True, f"one of {', '.join(SCHEDULES)}"),
    "milestones": (
        tuple,
        lambda shares: (
            all(isinstance(share, float) for share in shares)
            and all(low < high for low, high in pairwise((0.0, *shares, 1.0)))
        ),
        "a tuple of rising numbers in (0, 1), shares of the run",
    ),
    "warmup_fraction": _BELOW_ONE,
    "label_smoothing": _BELOW_ONE,
    "ema": _BELOW_ONE,
    "clip": _NOT_NEGATIVE,
    "precision": (str, lambda value: True, f"one of {', '.join(PRECISIONS)}"),
    "channels_last": _SWITCH,
    "mixup": _NOT_NEGATIVE,
    "new_parameters_factor": _POSITIVE,
    "augmentation": (
        tuple,
        lambda names: names is None or all(isinstance(name, str) for name in names),
        "None or a tuple of names",
    ),
}

# name -> its purpose and its settings
_RECIPES: dict[str, tuple[str, Recipe]] = {
    "demo": (
        "the demo: a small CIFAR ResNet on photo-digits, one CPU thread per run",
        Recipe(
            epochs=5,
            batch_size=50,
            learning_rate=0.3,
            nesterov=True,
            weight_decay=2e-3,
            warmup_fraction=0.2,
            channels_last=True,
        ),
    ),
    "quick": (
        "a first look, or a test that everything runs; too short for a verdict",
        Recipe(epochs=2, batch_size=100),
    ),
    "cifar": (
        "CIFAR ResNets as He et al. (2016) trained them, weight decay 5e-4: drops after epochs 81 and 122 of 164",
        Recipe(epochs=164, schedule="step", milestones=(81 / 164, 122 / 164), warmup_fraction=0.0),
    ),
    "cifar-short": (
        "CIFAR ResNets in a fifth of the epochs: one cycle",
        Recipe(epochs=30, nesterov=True),
    ),
    "modern": (
        "ConvNeXt and similar networks from scratch: AdamW, mixup, TrivialAugment, averaged weights",
        Recipe(
            epochs=100,
            optimizer="adamw",
            learning_rate=1e-3,
            weight_decay=0.05,
            schedule="cosine",
            warmup_fraction=0.05,
            label_smoothing=0.1,
            mixup=0.2,
            ema=0.999,
            clip=1.0,
            augmentation=("crop", "flip", "trivial-augment"),
        ),
    ),
    "finetune": (
        "a pretrained network with new parts: a low learning rate, and ten times as much for the new parts",
        Recipe(
            epochs=10,
            batch_size=64,
            learning_rate=0.01,
            nesterov=True,
            weight_decay=1e-4,
            schedule="cosine",
            warmup_fraction=0.1,
            label_smoothing=0.1,
            clip=1.0,
            new_parameters_factor=10.0,
        ),
    ),
}
