"""One job of a comparison: what a worker gets, does and returns. Its progress is written after each epoch."""

import errno
import json
import math
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saam._core.devices import require_device, threads_set
from saam._core.files import write_atomically
from saam._core.objects import resolve
from saam._core.weights import stored
from saam.comparison.environment import environment, now
from saam.comparison.plan import Plan
from saam.comparison.plan_run import run
from saam.comparison.records import FailureRecord, Finished, ProgressRecord, Tell
from saam.comparison.task import TaskPlan
from saam.comparison.task_run import run_task
from saam.training import EpochRecord, ImageScores

__all__ = ["Job", "failure", "work"]

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


def work(job: Job) -> Finished | FailureRecord:
    """Run a job in this process. A failure of the run is returned as a record.

    Raises:
        OSError: If the state cannot be written (no space, no permission), which is not a failure of the run.
        ImportError: If this process cannot import a class or function of the plan, which is not one either.
        BrokenExecutor: If an earlier run has broken the device for this process, so that another worker must do it.
    """
    _require_sound(job.device)
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


def _require_sound(device: str | None) -> None:
    """Raise an error if this process cannot use its GPU any more: after a failed assertion there, every call fails."""
    used = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    try:
        require_device(device)
    except ValueError as error:  # whatever else is wrong, the run will say it
        if used and isinstance(error.__cause__, torch.AcceleratorError):
            raise BrokenExecutor(str(error)) from error


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
    record, outcome = run_task(plan, job.arm, job.seed, tell=tell, device=job.device, state=state)
    values = stored({name: torch.as_tensor(values).flatten().float() for name, values in outcome.values.items()})
    weights = b"" if outcome.model is None else _weights(outcome.model)
    return Finished(record, weights, _bytes(values) if values else b"")


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
    record = FailureRecord(job.id, job.arm, job.seed, error, trace, where, now())
    return FailureRecord.from_json(record.to_json())  # as it will be read
