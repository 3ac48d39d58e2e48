"""What an arm costs, against the plain backbone: parameters, arithmetic, time and memory.

Times are taken in one process in which the models take turns, so that a slow moment of the machine meets all of them.
Memory is what tensors hold: storages as they come and go are added up, scratch space inside one operation is not seen.
"""

import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import median, quantiles
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from saam._core.errors import unknown
from saam.comparison.records import CostRecord
from saam.measure import count_macs
from saam.training import Recipe, parameter_groups, require_device

__all__ = ["best_device", "measure_costs", "peak_memory", "require_threads"]

_MOST_THREADS = 1024  # far more of them crash the process
_MINIMUM_ROUNDS = 5
_LEARNING_RATE = 1e-4  # the measured weights hardly move


def measure_costs(
    models: Mapping[str, nn.Module],
    recipe: Recipe,
    *,
    image_size: tuple[int, int],
    baseline: str = "none",
    threads: int = 1,
    device: str | torch.device | None = None,
    rounds: int = 30,
    seconds: float = 15.0,
) -> tuple[CostRecord, ...]:
    """Measure models beside each other, each against the baseline among them.

    In every round each model makes one training step and one inference on the same random batch, and each round begins
    with another model.

    Args:
        models: label -> model; they are trained by the measurement, so give fresh ones.
        recipe: decides batch size, precision and memory order.
        image_size: (H, W) of the images, which have three channels.
        baseline: label of the plain backbone.
        threads: of torch on the CPU; set back at the end.
        device: as torch names it, or None for the best there is.
        rounds: at most, but five at least.
        seconds: once this time has passed no further round begins, but five are made at least.

    Returns:
        One record for each model, in their order.

    Raises:
        ValueError: the baseline is not among the models, MACs cannot be counted, the network does not take images of
            this size, the device is not there, or the threads are too many.
    """
    if baseline not in models:
        raise unknown("baseline", baseline, models)
    require_threads(threads)
    place = require_device(best_device(device))
    try:
        macs = {label: count_macs(model, image_size) for label, model in models.items()}
    except AssertionError as error:  # what timm's transformers raise for another size than theirs
        size = "x".join(map(str, image_size))
        raise ValueError(f"the network does not take images of {size} ({error}): choose the size it is for") from error
    end, before = time.perf_counter() + seconds, torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            trials = {label: _Trial(model, recipe, image_size, place) for label, model in models.items()}
            memory = {label: peak_memory(trial.step, trial.tensors()) for label, trial in trials.items()}
            steps, inferences = _take_turns(trials, rounds, end)
    finally:
        torch.set_num_threads(before)
    parameters = {label: _trainable(model) for label, model in models.items()}
    return tuple(
        CostRecord(
            arm=label,
            parameters=parameters[label],
            extra_parameters=parameters[label] - parameters[baseline],
            macs=macs[label],
            macs_ratio=macs[label] / macs[baseline],
            train_step_ms=1e3 * median(steps[label]),
            train_step_spread_ms=1e3 * _interquartile_range(steps[label]),
            train_step_ratio=_ratio(steps[label], steps[baseline]),
            inference_ms=1e3 * median(inferences[label]),
            inference_spread_ms=1e3 * _interquartile_range(inferences[label]),
            inference_ratio=_ratio(inferences[label], inferences[baseline]),
            peak_memory_mb=memory[label] / 1e6,
            peak_memory_ratio=memory[label] / memory[baseline],
            batch_size=recipe.batch_size,
            image_size=image_size,
            threads=threads,
            device=str(place),
        )
        for label in models
    )


def require_threads(threads: int) -> None:
    """Raise unless this is a number of threads that a process can have.

    Raises:
        ValueError: it is not.
    """
    if not 1 <= threads <= _MOST_THREADS:
        raise ValueError(f"threads={threads}: expected 1 to {_MOST_THREADS}, and no more than there are processors")


def best_device(device: str | torch.device | None = None) -> torch.device:
    """Return the device of this name, or without one the accelerator that torch finds, or the CPU."""
    if device is not None:
        return torch.device(device)
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def peak_memory(step: Callable[[], object], tensors: Iterable[Tensor]) -> int:
    """Return the most bytes that tensors hold at once while ``step`` runs.

    Args:
        step: is called once.
        tensors: those that exist before; every storage is counted once. A list would keep alive what the step frees.
    """
    with _LiveBytes() as live:
        for tensor in tensors:
            live.watch(tensor)
        step()
    return int(live.peak)


class _Trial:
    """A model with optimizer and batch, for training steps and inferences as `saam.training` makes them."""

    def __init__(self, model: nn.Module, recipe: Recipe, image_size: tuple[int, int], device: torch.device) -> None:
        memory_format = torch.channels_last if recipe.channels_last else torch.preserve_format
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(recipe.batch_size, 3, *image_size, generator=generator)
        self.x = x.to(device, memory_format=memory_format)
        self.model, self.recipe, self.device = model, recipe, device
        model.to(device).to(memory_format=memory_format)
        model.eval()
        classes = self.infer().shape[1]
        self.y = torch.randint(classes, (recipe.batch_size,), generator=generator).to(device)
        groups = parameter_groups(model, weight_decay=recipe.weight_decay)
        self.optimizer = torch.optim.SGD(groups, _LEARNING_RATE, recipe.momentum, nesterov=recipe.nesterov)
        model.train()
        self.step()

    def step(self) -> None:
        with self._autocast():
            logits = self.model(self.x).float()
        loss = F.cross_entropy(logits, self.y, label_smoothing=self.recipe.label_smoothing)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def infer(self) -> Tensor:
        with torch.inference_mode(), self._autocast():
            logits: Tensor = self.model(self.x)
        return logits

    def tensors(self) -> Iterator[Tensor]:
        """Yield everything that is held between two steps, and keep no hold on it."""
        yield from self.model.parameters()
        yield from (parameter.grad for parameter in self.model.parameters() if parameter.grad is not None)
        yield from (entry for entry in tree_leaves(dict(self.optimizer.state)) if isinstance(entry, Tensor))
        yield from self.model.buffers()
        yield from (self.x, self.y)

    def seconds(self, work: Callable[[], object], *, training: bool) -> float:
        """Wall time of one call, to the end of what it queued on the device."""
        self.model.train(training)
        start = time.perf_counter()
        work()
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        return time.perf_counter() - start

    def _autocast(self) -> torch.autocast:
        half = torch.float16 if self.recipe.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, half, enabled=self.recipe.precision != "no")


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the storages that operations make, until they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held: dict[int, int] = {}
        self.total = self.peak = 0

    def watch(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.held:
            self.held[key] = size
            self.total += size
            self.peak = max(self.peak, self.total)
            weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        self.total -= self.held.pop(key)

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = operation(*args, **(kwargs or {}))
        for entry in tree_leaves(out):
            if isinstance(entry, Tensor):
                self.watch(entry)
        return out


def _take_turns(
    trials: Mapping[str, _Trial], rounds: int, end: float
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of a training step and of an inference for each model and round."""
    steps: dict[str, list[float]] = {label: [] for label in trials}
    inferences: dict[str, list[float]] = {label: [] for label in trials}
    labels = list(trials)
    for turn in range(max(rounds, _MINIMUM_ROUNDS)):
        if turn >= _MINIMUM_ROUNDS and time.perf_counter() > end:
            break
        first = turn % len(labels)
        for label in labels[first:] + labels[:first]:
            trial = trials[label]
            steps[label].append(trial.seconds(trial.step, training=True))
            inferences[label].append(trial.seconds(trial.infer, training=False))
    return steps, inferences


def _interquartile_range(times: Sequence[float]) -> float:
    low, _, high = quantiles(times, n=4, method="inclusive")
    return high - low


def _ratio(times: Sequence[float], baseline: Sequence[float]) -> float:
    return median(time / plain for time, plain in zip(times, baseline, strict=True))


def _trainable(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
