"""One job of a comparison: one arm, one seed, from initial weights to the test set.

Common random numbers: for one seed the backbone's initial weights, the order of the images and every augmentation draw
are the same in all arms; the attention's weights come from a generator of their own.
"""

import errno
import json
import math
import platform
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saam._core.devices import Device, device_of, require_device
from saam._core.files import write_atomically
from saam._core.machine import processor
from saam._core.objects import is_reference, resolve
from saam._core.random import all_seeded
from saam._core.weights import stored
from saam._version import __version__
from saam.comparison.arm import WIDER, WIDER_TIME
from saam.comparison.plan import Plan, check_plan
from saam.comparison.records import FailureRecord, ProgressRecord, RunRecord
from saam.comparison.task import Context, Outcome, TaskPlan, attention_of
from saam.data import Splits, kept_options, load_data
from saam.data.cache import no_downloads
from saam.explain import observe
from saam.functional.backend import backends
from saam.measure import count_parameters
from saam.models import Preprocessing, create_model, published_colours, untrained_parameters
from saam.training import EpochRecord, ImageScores, fit

__all__ = [
    "Finished",
    "Job",
    "Run",
    "build_model",
    "coloured",
    "environment",
    "failure",
    "load_splits",
    "run",
    "threads_set",
    "without_fetching",
    "work",
]

# What published weights decide of networks of torchvision, beside their values.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "torchvision:googlenet": {"transform_input": True, "aux_logits": False},
    "torchvision:inception_v3": {"transform_input": True},
}
Tell = Callable[[int, int, dict[str, float], dict[str, float]], object]  # epoch, epochs, numbers to show, all numbers

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_NO_RIGHT = (errno.EACCES, errno.EPERM)
_ONE_AT_A_TIME = threading.Lock()  # generators and threads of torch belong to the process, which an executor may share


@dataclass(frozen=True)
class Job:
    """All that a worker needs to train one arm with one seed, wherever it runs.

    Attributes:
        plan: The comparison.
        arm: Label of the arm.
        seed: Seed of the initial weights, the batch order and all other draws.
        id: Name of the run, see `Plan.run_id`.
        threads: Number of torch threads on the CPU; None keeps the worker's setting.
        device: Name for torch; None means the best device of the worker.
        state: File to store the state in after each epoch, and to resume from if it exists;
            None, or a file whose folder the worker does not see, keeps none.
    """

    plan: Plan | TaskPlan
    arm: str
    seed: int
    id: str
    threads: int | None = None
    device: str | None = None
    state: Path | None = None


class Run(NamedTuple):
    """The result of a run: its record, the trained network, and the scores on each test image."""

    record: RunRecord
    model: nn.Module
    scores: ImageScores


class Finished(NamedTuple):
    """The result of a job: the record, and in safetensors' format the weights and the scores by image."""

    record: RunRecord
    weights: bytes
    scores: bytes


def work(job: Job) -> Finished | FailureRecord:
    """Run a job in this process. A failure of the run is returned as a record.

    Raises:
        OSError: If the state cannot be written (no space, no permission), which is not a failure of the run.
        ImportError: If this process cannot import a class or function of the plan, which is not one either.
    """
    for name in job.plan.code(job.arm):
        _imported(name)
    state = job.state if job.state is not None and job.state.parent.is_dir() else None

    curve: list[dict[str, Any]] = []

    def tell(epoch: int, epochs: int, shown: dict[str, float], numbers: dict[str, float]) -> None:
        if state is not None:
            file = state.with_suffix(".json")
            before = [entry for entry in curve or _curve(file) if entry["epoch"] < epoch]
            finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
            curve[:] = [*before, {"epoch": epoch, **finite}]
            shown = {name: value for name, value in shown.items() if math.isfinite(value)}
            progress = ProgressRecord(job.arm, job.seed, epoch, epochs, shown, tuple(curve))
            write_atomically({file: json.dumps(asdict(progress)).encode()})

    try:
        with _ONE_AT_A_TIME, threads_set(job.threads), _dtype_kept():
            if isinstance(job.plan, TaskPlan):
                return _of_task(job, job.plan, state, tell)
            return _of_plan(job, job.plan, state, tell)
    except (Exception, SystemExit) as error:  # whatever a model, data or the device raises: the other runs go on
        if _of_state(error, state):
            raise
        try:
            said = f"{type(error).__name__}: {error}"
        except Exception:  # a message that cannot be made
            said = type(error).__name__
        return failure(job, said, trace="".join(traceback.format_exception(error)))


def _of_state(error: BaseException, state: Path | None) -> bool:
    """Return whether an error says that the state cannot be written, for lack of space or permission."""
    if state is None or not isinstance(error, OSError):
        return False
    named = Path(str(error.filename))
    beside = state.parent in (named, named.parent)
    return error.errno in _NO_ROOM or (beside and error.errno in _NO_RIGHT)


@contextmanager
def _dtype_kept() -> Iterator[None]:
    """Restore torch's default dtype at the end."""
    before = torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _of_plan(job: Job, plan: Plan, state: Path | None, tell: Tell) -> Finished:
    def on_epoch(epoch: EpochRecord) -> None:
        numbers = {name: value for name, value in asdict(epoch).items() if name not in ("epoch", "observed")}
        shown = {name: numbers[name] for name in ("train_loss", "validation_accuracy", "seconds")}
        tell(epoch.epoch, plan.recipe.epochs, shown, numbers)

    done = run(plan, job.arm, job.seed, device=job.device, on_epoch=on_epoch, state=state)
    return Finished(done.record, _weights(done.model), _bytes(_by_image(done.scores)))


def _by_image(scores: ImageScores) -> dict[str, Tensor]:
    """Return the scores of each test image as they are stored: metrics in float16, classes as small integers."""
    return {
        "accuracy": 100 * scores.correct.half(),
        "loss": scores.losses.clamp(max=torch.finfo(torch.float16).max).half(),
        "confidence": scores.confidence.half(),
        **{name: getattr(scores, name).int() for name in ("labels", "predicted", "rank")},
    }


def _of_task(job: Job, plan: TaskPlan, state: Path | None, tell: Tell) -> Finished:
    start = time.perf_counter()
    kept = None if state is None else state.with_suffix(".curve.json")
    curve, seconds = _kept_curve(kept)

    def on_report(epoch: int, epochs: int, numbers: dict[str, float]) -> None:
        same = next((entry for entry in curve if entry["epoch"] == epoch), {})
        entry = {**same, "epoch": epoch, **numbers}
        curve[:] = [*(each for each in curve if each["epoch"] < epoch), entry]  # what came after is done anew
        if kept is not None:
            content = {"curve": curve, "seconds": seconds + time.perf_counter() - start}
            write_atomically({kept: json.dumps(content).encode()})
        tell(epoch, epochs, numbers, {name: value for name, value in entry.items() if name != "epoch"})

    folder = None if state is None else state.with_suffix("")
    if folder is not None:
        folder.mkdir(exist_ok=True)
    device = require_device(job.device)
    side = plan.arm(job.arm)
    context = Context(side, job.seed, device, folder, plan.options, on_report)
    task = resolve(plan.task)
    with all_seeded(job.seed, device):
        returned = task(job.arm, job.seed, context)
    outcome = returned if isinstance(returned, Outcome) else Outcome(returned)
    model = outcome.model
    record = RunRecord(
        id=job.id,
        arm=job.arm,
        model=plan.title,
        model_options=plan.options,
        data="",
        data_options={},
        recipe={},
        where="",
        start="",
        seed=job.seed,
        test=_test_scores(plan, outcome),
        validation={},
        curve=tuple(curve),
        parameters=0 if model is None else count_parameters(model),
        seconds=seconds + time.perf_counter() - start,
        environment=environment(device),
        finished=_now(),
    )
    values = stored({name: torch.as_tensor(values).flatten().float() for name, values in outcome.values.items()})
    record = RunRecord.from_json(json.loads(json.dumps(record.to_json())))
    return Finished(record, b"" if model is None else _weights(model), _bytes(values) if values else b"")


def _test_scores(plan: TaskPlan, outcome: Outcome) -> dict[str, float]:
    """Return the scores that a task returned.

    Raises:
        TypeError: If they are not numbers by name.
        ValueError: If one of the plan's metrics is missing.
    """
    expected = f"the task {plan.title} must return its scores by metric name, or an Outcome"
    if not isinstance(outcome.metrics, Mapping):
        raise TypeError(f"{expected}, got {outcome.metrics!r:.80}")
    try:
        test = {str(name): float(score) for name, score in outcome.metrics.items()}
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{expected}; one is no number in {outcome.metrics!r:.200}") from None
    if missing := [metric.name for metric in plan.metrics if metric.name not in test]:
        raise ValueError(
            f"the task {plan.title} returned no {' and no '.join(missing)}, which the comparison has as a metric: it "
            f"returned {', '.join(sorted(test)) or 'nothing'}"
        )
    return test


def _kept_curve(file: Path | None) -> tuple[list[dict[str, Any]], float]:
    """Return the learning curve and the seconds of a run before its interruption."""
    if file is None or not file.is_file():
        return [], 0.0
    content = json.loads(file.read_bytes())
    return content["curve"], content["seconds"]


def _imported(name: str) -> Any:
    try:
        return resolve(name)
    except Exception as error:  # a module of the user's own may raise anything
        raise ImportError(str(error) if isinstance(error, ValueError) else f"{name}: {error!r}") from error


def _curve(file: Path) -> list[dict[str, Any]]:
    """Return the stored curve of a resumed run."""
    try:
        kept = ProgressRecord.from_json(json.loads(file.read_text()))
    except (OSError, ValueError):  # it has just begun
        return []
    return list(kept.curve)


def _weights(model: nn.Module) -> bytes:
    state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    return _bytes(stored(state))


def _bytes(tensors: dict[str, Tensor]) -> bytes:
    from safetensors.torch import save

    content: bytes = save(tensors)
    return content


def failure(job: Job, error: str, *, trace: str = "") -> FailureRecord:
    """Return the record of a job that failed."""
    where = {**environment(torch.device("cpu")), "device": job.device or ""}
    record = FailureRecord(job.id, job.arm, job.seed, error, trace, where, _now())
    return FailureRecord.from_json(record.to_json())  # as it will be read


def run(
    plan: Plan,
    arm: str,
    seed: int,
    *,
    splits: Splits | None = None,
    device: Device = None,
    on_epoch: Callable[[EpochRecord], object] | None = None,
    state: Path | None = None,
) -> Run:
    """Train one arm with one seed, then open the test set, once.

    Args:
        plan: The comparison.
        arm: Label of the arm.
        seed: Seed of the initial weights, the batch order and all other draws.
        splits: The plan's data; None loads them.
        device: Name for torch; None means the best one.
        on_epoch: Called with each epoch's record.
        state: File to store the run in after each epoch, and to resume from if it exists.

    Returns:
        The record, the trained network, and the scores on each test image.

    Raises:
        FloatingPointError: If the loss is not finite.
        ValueError: If the state is damaged or belongs to another run.
    """
    splits = _load(plan.data, _json(plan.data_options)) if splits is None else splits
    splits = coloured(splits, plan.model, pretrained=plan.pretrained)
    run_id = plan.run_id(arm, seed, fingerprint=splits.fingerprint)
    model = build_model(plan, arm, seed=seed, classes=len(splits.classes))
    fitted = fit(
        model,
        splits,
        plan.recipe,
        seed=seed,
        device=device,
        new_parameters=untrained_parameters(model) if plan.pretrained else (),
        observe=observe,
        on_epoch=on_epoch,
        state=state,
        identity={"run": run_id},
    )
    curve = fitted.result.curve
    record = RunRecord(
        id=run_id,
        arm=arm,
        model=plan.model,
        model_options=plan.model_options,
        data=splits.label,
        data_options=plan.data_options,
        recipe=plan.recipe.to_dict(),
        where="" if plan.arm(arm).plain else plan.where,
        start="" if plan.arm(arm).plain else plan.start,
        seed=seed,
        test=asdict(fitted.test.mean()),
        validation={
            "accuracy": curve[-1].validation_accuracy,
            "loss": curve[-1].validation_loss,
            "count": len(splits.validation),
        },
        curve=tuple(asdict(epoch) for epoch in curve),
        parameters=count_parameters(model),
        seconds=fitted.result.seconds,
        environment=environment(device_of(model)),
        finished=_now(),
    )
    return Run(RunRecord.from_json(json.loads(json.dumps(record.to_json()))), model, fitted.test)


def build_model(plan: Plan, arm: str, *, seed: int, classes: int) -> nn.Module:
    """Return the network of an arm before training with this seed.

    Raises:
        ValueError: If the model does not exist, or an option is out of range.
        TypeError: If the model or the attention does not have an option.
    """
    side = plan.arm(arm)
    if side.name in (WIDER, WIDER_TIME):
        raise ValueError(
            f"the width of the control {arm!r} is not known: compare() finds it, see saam.comparison.controls"
        )
    return create_model(
        resolve(plan.model) if is_reference(plan.model) else plan.model,
        attention=attention_of(side)[0] if side.own else side.attention,
        head=side.head,
        num_classes=classes,
        where=plan.where,
        start=plan.start,
        seed=seed,
        **{**plan.model_options, **(side.options if side.plain else {})},
    )


def preprocessing_for(splits: Splits) -> Preprocessing:
    """Return how images become the input of a network that is trained on a data set."""
    return Preprocessing(splits.train.shape, splits.mean, splits.std, splits.classes)


def load_splits(plan: Plan) -> Splits:
    """Load the data of a plan that may come from a stranger, without downloads; see `saam.data.load_kept_data`.

    Those loaded last stay in memory, for runs in the same process too.

    Raises:
        ValueError: If a file may not set one of the options.
        FileNotFoundError: If the data are not on this machine.
    """
    options = kept_options(plan.data, plan.data_options)
    with no_downloads():
        splits = _load(plan.data, _json(options))
    return coloured(splits, plan.model, pretrained=plan.pretrained)


def coloured(splits: Splits, model: str, *, pretrained: bool) -> Splits:
    """Return a data set whose images are normalised as the network expects them.

    A pretrained network expects the mean and standard deviation of the images that its weights were trained on. Every
    other one gets those of the data set.

    Args:
        splits: The data set.
        model: Name of the network.
        pretrained: Whether it starts from published weights.
    """
    colours = published_colours(model) if pretrained else None
    if colours is None:
        return splits
    mean, std = colours
    return replace(splits, mean=mean, std=std)


def without_fetching(plan: Plan) -> Plan:
    """Return the plan with the networks of its runs but without published weights, after checking it.

    Raises:
        ValueError: If a file may not set the name or an option of the network.
    """
    check_plan(plan)
    options = dict(plan.model_options)
    if options.pop("pretrained", False):
        options = {**_PUBLISHED.get(plan.model, {}), **options}
    return replace(plan, model_options=options)


@contextmanager
def threads_set(threads: int | None) -> Iterator[None]:
    """Set the number of torch threads, and restore it at the end."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def environment(device: torch.device) -> dict[str, str | int]:
    """Return what a result may depend on in addition to its plan: versions, machine, device and threads."""
    return {
        "saam": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor(),
        "threads": torch.get_num_threads(),
        "fused": backends()["fused"],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json(options: dict[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


@lru_cache(maxsize=1)
def _load(name: str, options: str) -> Splits:
    return load_data(name, **json.loads(options))
