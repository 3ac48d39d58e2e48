"""Live curves of a run in TensorBoard, Weights & Biases or MLflow; whichever is named is imported then, and not before.

A small file beside the results notes what was logged, so that a run that goes on logs no epoch twice.
"""

import hashlib
import importlib
import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from saam._core.errors import unknown
from saam._core.files import read_json, write_atomically

__all__ = ["TRACKERS", "TrackedRun", "require_trackers"]

_MOST_LETTERS = 500  # of a parameter of MLflow
_MOST_PARAMETERS = 100  # of MLflow in one request


class _Log(Protocol):
    """One run in a tracker; ``key`` is what the tracker knows it by."""

    key: str

    def log(self, numbers: Mapping[str, float], epoch: int) -> None: ...

    def finish(self, numbers: Mapping[str, float], epoch: int, *, failed: bool) -> None: ...

    def close(self) -> None: ...


class TrackedRun:
    """One run in one tracker, which is opened with the first thing that is new.

    Args:
        tracker: One of `TRACKERS`.
        folder: Of the results; the notes go into ``tracking``, and what TensorBoard reads into ``tensorboard``.
        project: What the run belongs to. ``WANDB_PROJECT`` and ``MLFLOW_EXPERIMENT_NAME`` in the environment override
            it.
        name: Of the run, unique in the folder.
        group: Runs with the same are grouped.
        config: Settings of the run, in plain values.
    """

    def __init__(
        self, tracker: str, folder: Path, *, project: str, name: str, group: str, config: Mapping[str, Any]
    ) -> None:
        self.tracker, self.folder, self.project = tracker, folder, project
        self.name, self.group, self.config = name, group, config
        digits = hashlib.sha256(name.encode()).hexdigest()[:8]
        self.file = folder / "tracking" / f"{tracker}-{_tame(name).replace('/', '_')[:80]}-{digits}.json"
        self.note: dict[str, Any] = {"key": "", "epoch": 0, "finished": None}
        if self.file.is_file():
            self.note |= read_json(self.file)
        self._log: _Log | None = None

    def log(self, epoch: int, numbers: Mapping[str, Any]) -> None:
        """Log the numbers of an epoch; one that was logged before is left out.

        Args:
            epoch: From 1.
            numbers: By name; what is no number is left out.
        """
        if epoch > self.note["epoch"]:
            with _told(self.tracker):
                log = self._opened()
                self._noted(epoch=epoch)
                log.log(_numbers(numbers), epoch)

    def finish(self, numbers: Mapping[str, Any], *, failed: bool = False) -> None:
        """Log the final numbers and end the run; the same numbers are logged once."""
        told = {name: value if math.isfinite(value) else None for name, value in _numbers(numbers).items()}
        told["failed"] = float(failed)
        if self.note["finished"] != told:
            with _told(self.tracker):
                log = self._opened()
                self._noted(finished=told)
                log.finish(_numbers(numbers), self.note["epoch"], failed=failed)
                self._log = None
        self.close()

    def close(self) -> None:
        """Close the tracker; the run can go on later."""
        if self._log is not None:
            with _told(self.tracker):
                self._log.close()
            self._log = None

    def _opened(self) -> _Log:
        if self._log is None:
            self._log = _LOGS[self.tracker](self)
            self._noted(key=self._log.key)
        return self._log

    def _noted(self, **values: Any) -> None:
        self.note |= values
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically({self.file: json.dumps(self.note).encode()})


def require_trackers(names: Iterable[str]) -> None:
    """Raise unless all these trackers exist and are installed.

    Raises:
        ValueError: If there is no such tracker.
        ModuleNotFoundError: If it is not installed; the error names the package.
    """
    for name in names:
        if name not in TRACKERS:
            raise unknown("tracker", name, TRACKERS)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"tracking with {name} needs a package: pip install {name}") from error


@contextmanager
def _told(tracker: str) -> Iterator[None]:
    """Say in one line what a tracker raises, which may be of any kind."""
    try:
        yield
    except Exception as error:
        raise RuntimeError(
            f"{tracker} failed ({type(error).__name__}: {error!s:.300}): mend that, or leave out the tracking of it; "
            "what is finished is kept"
        ) from error


class _TensorBoard:
    """Event files in FOLDER/tensorboard/NAME."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard" / _tame(run.name).replace("/", "_")
        self.key = str(folder.relative_to(run.folder))
        self.writer: Any = SummaryWriter(str(folder))
        if not run.note["key"]:
            settings = json.dumps(run.config, indent=1, ensure_ascii=False)
            self.writer.add_text("config", "\n".join(f"    {line}" for line in settings.splitlines()))

    def log(self, numbers: Mapping[str, float], epoch: int) -> None:
        for name, number in numbers.items():
            self.writer.add_scalar(name, number, epoch)
        self.writer.flush()

    def finish(self, numbers: Mapping[str, float], epoch: int, *, failed: bool) -> None:
        if failed:
            self.writer.add_text("failed", "the run failed", epoch)
        self.log(numbers, epoch)
        self.close()

    def close(self) -> None:
        self.writer.close()


class _WandB:
    """A run of Weights & Biases, whose horizontal axis is the epoch."""

    def __init__(self, run: TrackedRun) -> None:
        import wandb

        self.key = run.note["key"] or hashlib.sha256(os.urandom(16)).hexdigest()[:12]
        self.run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or re.sub(r"[/\\#?%:]+", "-", run.project)[:128],
            name=run.name,
            group=run.group,
            id=self.key,
            resume="allow",
            config=dict(run.config),
            dir=str(run.folder),
            reinit="create_new",
        )
        self.run.define_metric("epoch")
        self.run.define_metric("*", step_metric="epoch")

    def log(self, numbers: Mapping[str, float], epoch: int) -> None:
        self.run.log({"epoch": epoch, **numbers})

    def finish(self, numbers: Mapping[str, float], epoch: int, *, failed: bool) -> None:
        self.run.summary.update(dict(numbers))
        self.run.finish(exit_code=int(failed))

    def close(self) -> None:
        self.run.finish()


class _MLflow:
    """A run of MLflow, where ``MLFLOW_TRACKING_URI`` says."""

    def __init__(self, run: TrackedRun) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.client: Any = MlflowClient()
        self.key = run.note["key"]
        if self.key:
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or run.project
        experiment = self.client.get_experiment_by_name(name)
        place = self.client.create_experiment(name) if experiment is None else experiment.experiment_id
        self.key = self.client.create_run(place, tags={"group": run.group}, run_name=run.name).info.run_id
        flat = [Param(_tame(key), text[:_MOST_LETTERS]) for key, text in _flat(run.config)]
        for start in range(0, len(flat), _MOST_PARAMETERS):
            self.client.log_batch(self.key, params=flat[start : start + _MOST_PARAMETERS])

    def log(self, numbers: Mapping[str, float], epoch: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self.client.log_batch(
            self.key, metrics=[Metric(_tame(name), number, now, epoch) for name, number in numbers.items()]
        )

    def finish(self, numbers: Mapping[str, float], epoch: int, *, failed: bool) -> None:
        self.log(numbers, epoch)
        self.client.set_terminated(self.key, status="FAILED" if failed else "FINISHED")

    def close(self) -> None:
        self.client.set_terminated(self.key, status="KILLED")


_LOGS: dict[str, Any] = {"tensorboard": _TensorBoard, "wandb": _WandB, "mlflow": _MLflow}
TRACKERS = tuple(_LOGS)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def _tame(name: str) -> str:
    """Return a name in letters that file systems and MLflow take."""
    return re.sub(r"[^\w./ -]+", "_", name).replace("..", "_").strip("/ ") or "_"


def _flat(config: Mapping[str, Any], lead: str = "") -> list[tuple[str, str]]:
    found = []
    for key, value in config.items():
        found += _flat(value, f"{lead}{key}.") if isinstance(value, Mapping) else [(f"{lead}{key}", str(value))]
    return found
