"""The complete training of a network on a data set by a recipe, from initial weights to the test set."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from saam._core.devices import Device, device_of
from saam.data import Splits, score_batches, train_batches
from saam.training.evaluation import score_images
from saam.training.loop import train
from saam.training.recipe import Recipe
from saam.training.records import EpochRecord, ImageScores, Result

__all__ = ["Fit", "fit"]

_OBSERVED = 200  # images; observations are averages over them and should take no time


@dataclass(frozen=True, eq=False)
class Fit:
    """Result of `fit`; the trained weights are in the model.

    Args:
        result: The record of each epoch.
        test: Scores on each test image, after the last epoch.
    """

    result: Result
    test: ImageScores


def fit(
    model: nn.Module,
    splits: Splits,
    recipe: Recipe,
    *,
    seed: int,
    device: Device = None,
    new_parameters: Collection[str] = (),
    observe: Callable[[nn.Module, Tensor], Mapping[str, Any]] | None = None,
    on_epoch: Callable[[EpochRecord], object] | None = None,
    state: str | Path | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Fit:
    """Train a network on a data set, validate it after each epoch, and open the test set once, at the end.

    Args:
        model: Maps images (B, 3, H, W) to logits (B, classes).
        splits: The data set.
        recipe: All settings of the training.
        seed: Seed of the order of the images, of every augmentation and of all draws in the network.
        device: Name for torch; None means the best one.
        new_parameters: As in `train`.
        observe: Called after each epoch with the validated network and at most 200 validation images (B, 3, H, W) on
            its device. The returned plain values are stored in the record of the epoch.
        on_epoch: As in `train`.
        state: As in `train`.
        identity: As in `train`.

    Returns:
        The record of each epoch, and the scores on the test images.

    Raises:
        FloatingPointError: If the loss is not finite any more.
        ValueError: As in `train`, or if an augmentation does not exist.
    """

    def look(network: nn.Module) -> Mapping[str, Any]:
        x, _ = next(iter(score_batches(splits, "validation", batch_size=_OBSERVED)))
        return observe(network, x.to(device_of(network))) if observe else {}

    result = train(
        model,
        train_batches(
            splits,
            batch_size=recipe.batch_size,
            seed=seed,
            augmentation=recipe.augmentation,
            mixup=recipe.mixup,
        ),
        score_batches(splits, "validation", batch_size=recipe.batch_size),
        recipe,
        seed=seed,
        device=device,
        on_epoch=on_epoch,
        observe=look if observe else None,
        new_parameters=new_parameters,
        state=state,
        identity=identity,
    )
    return Fit(result, score_images(model, score_batches(splits, "test", batch_size=recipe.batch_size)))
