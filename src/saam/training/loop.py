"""Train an image classifier: any module, any loader, one recipe, one seed."""

import math
import random
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saam._core.devices import Device
from saam._core.modes import mode
from saam._core.random import generators_kept
from saam.training.distributed import together
from saam.training.evaluation import Loader, batches_of, evaluate, placed
from saam.training.recipe import Recipe
from saam.training.records import EpochRecord, Result
from saam.training.state import load_state, save_state
from saam.training.step import Stepper

__all__ = ["train"]

_CHECK_EVERY = 100  # steps between checks of the loss; each check waits for the device


def train(
    model: nn.Module,
    train_batches: Loader,
    validation_batches: Loader,
    recipe: Recipe,
    *,
    seed: int,
    on_epoch: Callable[[EpochRecord], object] | None = None,
    observe: Callable[[nn.Module], Mapping[str, Any]] | None = None,
    device: Device = None,
    new_parameters: Collection[str] = (),
    state: str | Path | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Result:
    """Train a model in place by minimising the cross-entropy.

    The seed determines all draws (dropout, the order of a plain DataLoader). The global generator and the mode of every
    module are restored. On a CPU, a seed gives the same weights bit for bit. Under ``torchrun`` the processes share
    each batch. With `Recipe.ema` the averaged weights are validated and kept. The model stays on the device and in the
    memory order of the training.

    Args:
        model: Maps x (B, C, H, W) to logits (B, classes).
        train_batches: Images to train on, already augmented and normalised.
        validation_batches: Images to score after each epoch. These scores do not select anything.
        recipe: All settings. `Recipe.batch_size`, `Recipe.augmentation` and `Recipe.mixup` are for the batches and not
            used here.
        seed: Seed of the whole run.
        on_epoch: Called with the record of each epoch (only in the first process).
        observe: Called after each epoch with the validated model. The returned plain values are stored in the record of
            the epoch.
        device: Name for torch; None means the best one.
        new_parameters: Names of parameters that learn faster, by `Recipe.new_parameters_factor`.
        state: File in which the run is saved after every epoch. If it exists, the run resumes from it.
        identity: Plain values that identify the run in addition to recipe and seed, such as a hash of the data and the
            name of the model. They are stored in the state, and a state with other values is refused.

    Returns:
        The record of each epoch.

    Raises:
        FloatingPointError: If the loss is not finite any more.
        ValueError: If there are no batches or nothing to train, the device does not support the recipe's precision, the
            precision is "auto", or the state is damaged or belongs to another run.
    """
    steps = len(train_batches)
    if steps == 0 or len(validation_batches) == 0:
        raise ValueError("expected batches to train on and to validate on, got none: fewer images than the batch size?")
    with together(device) as group, generators_kept(group.device), mode(model, training=True):
        stepper = Stepper(model, recipe, group, new_parameters)
        run = {**(identity or {}), "recipe": recipe.to_dict(), "seed": seed}
        curve = [] if state is None else load_state(Path(state), run, stepper)
        train_batches, validation_batches = (placed(each, group.device) for each in (train_batches, validation_batches))

        for epoch in range(len(curve), recipe.epochs):
            torch.manual_seed(_epoch_seed(seed, epoch, group.rank))
            start = time.perf_counter()
            losses, hits, sizes = [], [], []
            for step, (x, y) in enumerate(batches_of(train_batches, epoch)):
                if len(x) < group.size:  # each process needs an image, otherwise skip the step
                    continue
                loss, right, size = stepper.step(x, y, (epoch * steps + step + 0.5) / (recipe.epochs * steps))
                losses.append(loss)
                hits.append(right)
                sizes.append(size)
                if len(losses) % _CHECK_EVERY == 0:
                    _check_finite(losses, epoch, stepper.learning_rate)
            _check_finite(losses, epoch, stepper.learning_rate)

            loss_sum = torch.stack(losses).cpu().double() @ torch.tensor(sizes).double()
            totals = torch.stack([loss_sum, torch.stack(hits).sum().cpu(), torch.tensor(sum(sizes))])
            loss_sum, hit_sum, count = group.total(totals).tolist()
            validation = evaluate(stepper.validated, validation_batches)
            if not math.isfinite(validation.loss):
                raise FloatingPointError(
                    f"the validation loss is {validation.loss} after epoch {epoch + 1}, the training loss is finite: "
                    "try a lower learning_rate, and look for NaN in the validation images"
                )
            record = EpochRecord(
                epoch=epoch + 1,
                learning_rate=stepper.learning_rate,
                train_loss=loss_sum / count,
                train_accuracy=100 * hit_sum / count,
                validation_loss=validation.loss,
                validation_accuracy=validation.accuracy,
                seconds=time.perf_counter() - start,
                observed=dict(observe(stepper.validated)) if observe else {},
            )
            curve.append(record)
            if group.rank == 0:
                if state is not None:
                    save_state(Path(state), run, stepper, curve)
                if on_epoch is not None:
                    on_epoch(record)
        stepper.finish()
    return Result(tuple(curve))


def _epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """Return a separate seed for each epoch and process, so that a resumed run makes the same draws."""
    return random.Random(f"{seed} {epoch} {rank}").getrandbits(32)


def _check_finite(losses: list[Tensor], epoch: int, learning_rate: float) -> None:
    values = torch.stack(losses)
    finite = values.isfinite()
    if not finite.all():
        step = int(finite.logical_not().nonzero()[0])
        raise FloatingPointError(
            f"the training loss became {values[step].item()} in epoch {epoch + 1}, step {step + 1} (learning rate near "
            f"{learning_rate:.3g}): try a lower learning_rate, a longer warmup_fraction, clip=1 or precision='no', and "
            "look for NaN in the images"
        )
