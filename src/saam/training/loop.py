"""Train a classifier of images: any module, any loader, one recipe, one seed."""

import io
import math
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from saam._core.files import read_bytes, write_atomically
from saam.training.evaluation import Loader, batches_of, evaluate, training_mode
from saam.training.parameters import parameter_groups
from saam.training.recipe import Recipe
from saam.training.records import EpochRecord, Result
from saam.training.schedule import schedule_factor

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["require_device", "train"]

_CHECK_EVERY = 100  # steps between looks at the loss: each look waits for the device


def train(
    model: nn.Module,
    train_batches: Loader,
    validation_batches: Loader,
    recipe: Recipe,
    *,
    seed: int,
    on_epoch: Callable[[EpochRecord], object] | None = None,
    observe: Callable[[nn.Module], Mapping[str, Any]] | None = None,
    device: str | torch.device | None = None,
    new_parameters: Collection[str] = (),
    state: str | Path | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Result:
    """Train a model in place: cross-entropy, minimised by SGD with momentum as the recipe says.

    The seed decides all that is drawn here (dropout, the order of a plain DataLoader); the global generator and the
    mode of every module are left as they were. On a CPU a seed gives the same weights bit for bit. Under ``torchrun``
    the processes share out each batch. With `Recipe.ema` the averaged weights are validated and kept. The model stays
    on the device, and in the memory order, that it was trained in.

    Args:
        model: Takes x (B, C, H, W), gives logits (B, classes).
        train_batches: Images to train on, already augmented and normalised.
        validation_batches: Images to score after each epoch; nothing is chosen by these scores.
        recipe: All settings but `Recipe.batch_size` and `Recipe.augmentation`, which made the batches.
        seed: Of the whole run.
        on_epoch: Called with each epoch's record (in the first process only).
        observe: Called after each epoch with the model that was validated; what it returns, in plain values, is kept in
            the epoch's record.
        device: As torch names it, or None for the best there is.
        new_parameters: Names of parameters that learn faster, by `Recipe.new_parameters_factor`.
        state: File in which the run is saved after every epoch, and from which it goes on if the file is there.
        identity: What besides recipe and seed makes this run the one that it is, such as a hash of the data and the
            name of the model, in plain values; kept in the state, and a state with another is refused.

    Returns:
        The record of each epoch.

    Raises:
        FloatingPointError: The loss is not finite any more.
        ValueError: There are no batches or nothing to train, the device cannot do the recipe's precision, or the state
            is damaged or belongs to another run.
    """
    steps = len(train_batches)
    if steps == 0 or len(validation_batches) == 0:
        raise ValueError("expected batches to train on and to validate on, got none: fewer images than the batch size?")
    with (
        _accelerator(recipe.precision, device) as accelerator,
        _forked_generators(accelerator.device),
        training_mode(model, training=True),
    ):
        memory_format = torch.channels_last if recipe.channels_last else torch.preserve_format
        model.to(accelerator.device).to(memory_format=memory_format)
        groups = parameter_groups(
            model,
            weight_decay=recipe.weight_decay,
            new_parameters=new_parameters,
            new_parameters_factor=recipe.new_parameters_factor,
        )
        sgd = torch.optim.SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=recipe.nesterov)
        # accelerate's wrapper costs a millisecond a step, and only a gradient scaler needs it
        optimizer = sgd if accelerator.scaler is None else accelerator.prepare_optimizer(sgd)
        average = None
        if recipe.ema:
            averaging = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
            average = AveragedModel(model, multi_avg_fn=averaging, use_buffers=True)
        rank, processes = accelerator.process_index, accelerator.num_processes
        network = DistributedDataParallel(model) if processes > 1 else model
        run = {**(identity or {}), "recipe": recipe.to_dict(), "seed": seed}
        parts = {"model": model, "optimizer": sgd, "average": average, "scaler": accelerator.scaler}
        curve = [] if state is None else _load_state(Path(state), run, parts)

        for epoch in range(len(curve), recipe.epochs):
            torch.manual_seed(_epoch_seed(seed, epoch, rank))
            start = time.perf_counter()
            losses, hits, sizes = [], [], []
            for step, (x, y) in enumerate(batches_of(train_batches, epoch)):
                if len(x) < processes:  # one image at least for each, or none takes the step
                    continue
                x = x[rank::processes].to(accelerator.device, memory_format=memory_format, non_blocking=True)
                y = y[rank::processes].to(accelerator.device, non_blocking=True)
                learning_rate = recipe.learning_rate * schedule_factor(
                    recipe.schedule,
                    (epoch * steps + step + 0.5) / (recipe.epochs * steps),
                    warmup_fraction=recipe.warmup_fraction,
                    milestones=recipe.milestones,
                )
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate * group["factor"]
                with accelerator.autocast():
                    logits = network(x).float()
                loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
                optimizer.zero_grad()
                accelerator.backward(loss)
                if recipe.clip:
                    accelerator.clip_grad_norm_(model.parameters(), recipe.clip)
                optimizer.step()
                if average is not None:
                    average.update_parameters(model)
                losses.append(loss.detach())
                hits.append((logits.detach().argmax(1) == y).sum())
                sizes.append(len(y))
                if len(losses) % _CHECK_EVERY == 0:
                    _check_finite(losses, epoch, learning_rate)
            _check_finite(losses, epoch, learning_rate)

            loss_sum = torch.stack(losses).cpu().double() @ torch.tensor(sizes).double()
            totals = torch.stack([loss_sum, torch.stack(hits).sum().cpu(), torch.tensor(sum(sizes))])
            if processes > 1:
                totals = accelerator.reduce(totals.to(accelerator.device))
            loss_sum, hit_sum, count = totals.tolist()
            validated = model if average is None else average.module
            validation = evaluate(validated, validation_batches)
            if not math.isfinite(validation.loss):
                raise FloatingPointError(
                    f"the validation loss is {validation.loss} after epoch {epoch + 1}, the training loss is finite: "
                    "try a lower learning_rate, and look for NaN in the validation images"
                )
            record = EpochRecord(
                epoch=epoch + 1,
                learning_rate=learning_rate,
                train_loss=loss_sum / count,
                train_accuracy=100 * hit_sum / count,
                validation_loss=validation.loss,
                validation_accuracy=validation.accuracy,
                seconds=time.perf_counter() - start,
                observed=dict(observe(validated)) if observe else {},
            )
            curve.append(record)
            if accelerator.is_main_process:
                if state is not None:
                    _save_state(Path(state), run, parts, curve)
                if on_epoch is not None:
                    on_epoch(record)
        if average is not None:
            model.load_state_dict(average.module.state_dict())
    return Result(tuple(curve))


def require_device(device: str | torch.device) -> torch.device:
    """Return the device of this name.

    Raises:
        ValueError: it is not there, or cannot compute.
    """
    try:
        torch.zeros(1, device=device).cpu()  # "meta" makes tensors and has no values
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {str(device)!r} cannot be used here ({reason}): pass 'cpu' or None") from error
    return torch.device(device)


@contextmanager
def _accelerator(precision: str, device: str | torch.device | None) -> Iterator["Accelerator"]:
    """Make an Accelerator, and forget its settings at the end.

    accelerate keeps precision and device once for the whole process and refuses others later: what is there, whoever
    made it, is set aside and put back.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState
    from accelerate.utils import patch_environment

    if device is not None:
        require_device(device)
    cpu = torch.device(device).type == "cpu" if device is not None else not torch.accelerator.is_available()
    chosen = {} if device is None or cpu else {"ACCELERATE_TORCH_DEVICE": str(device)}
    shared = [state._shared_state for state in (AcceleratorState, GradientState, PartialState)]
    before = [dict(settings) for settings in shared]
    for settings in shared:
        settings.clear()
    try:
        with patch_environment(**chosen):
            accelerator = Accelerator(mixed_precision=precision, cpu=cpu)
        if precision == "fp16" and accelerator.device.type == "cpu":
            raise ValueError("precision 'fp16' needs a GPU, got the CPU: use precision='bf16' or 'no'")
        yield accelerator
    finally:
        for settings, kept in zip(shared, before, strict=True):
            settings.clear()
            settings.update(kept)


@contextmanager
def _forked_generators(device: torch.device) -> Iterator[None]:
    """Give the global generators of CPU and device back at the end as they were."""
    if device.type == "cpu":
        with torch.random.fork_rng(devices=[]):
            yield
    else:
        with torch.random.fork_rng(devices=[device.index or 0], device_type=device.type):
            yield


def _epoch_seed(seed: int, epoch: int, rank: int) -> int:
    """Return a seed of its own for each epoch and process: a run that is continued draws as one that never stopped."""
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


def _save_state(path: Path, run: dict[str, Any], parts: dict[str, Any], curve: list[EpochRecord]) -> None:
    content = {name: part.state_dict() for name, part in parts.items() if part is not None}
    buffer = io.BytesIO()
    torch.save(content | {"run": run, "curve": [asdict(record) for record in curve]}, buffer)
    write_atomically({path: buffer.getvalue()})


def _load_state(path: Path, run: dict[str, Any], parts: dict[str, Any]) -> list[EpochRecord]:
    """Put every part back into its saved state and return the epochs so far; none if there is no file."""
    if not path.exists():
        return []
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: state= names a file in it")
    content = io.BytesIO(read_bytes(path))
    try:
        saved = torch.load(content, map_location="cpu", weights_only=True)
        other = [name for name in run.keys() | saved["run"].keys() if run.get(name) != saved["run"].get(name)]
        if not other:
            for name, part in parts.items():
                if part is not None:
                    part.load_state_dict(saved[name])
            return [EpochRecord(**record) for record in saved["curve"]]
    except Exception as error:  # torch and pickle fail in many ways on a file that is not whole
        raise ValueError(f"{path} is damaged: remove it to start anew") from error
    raise ValueError(
        f"{path} holds the state of another run, which differs in {', '.join(sorted(other))}: remove it to start anew, "
        "or choose another place"
    )
