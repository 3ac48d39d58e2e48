"""A comparison in TensorBoard, Weights & Biases or MLflow: a curve for each run as it trains, then scores and costs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from saam.comparison.comparison import Comparison
from saam.comparison.plan import Plan
from saam.comparison.records import RunRecord
from saam.comparison.task import TaskPlan
from saam.training.tracking import TrackedRun, require_trackers

__all__ = ["tracked"]

_COSTS = ("parameters", "macs", "train_step_ratio", "inference_ratio", "peak_memory_mb")


@contextmanager
def tracked(track: str | Sequence[str], out: Path, settings: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the settings of `saam.comparison.driver.drive` with callbacks that log every run.

    Args:
        track: Names of trackers, one or several; none is fine.
        out: Folder of the comparison.
        settings: Their callbacks are still called.

    Raises:
        ValueError: If there is no such tracker.
        ModuleNotFoundError: If it is not installed.
    """
    names = [track] if isinstance(track, str) else list(dict.fromkeys(track))
    require_trackers(names)
    if not names:
        yield dict(settings)
        return
    follower = _Follower(names, out)

    def on_progress(comparison: Comparison) -> None:
        follower.look(comparison)
        if tell := settings.get("on_progress"):
            tell(comparison)

    def on_record(record: RunRecord) -> None:
        follower.ended(record)
        if tell := settings.get("on_record"):
            tell(record)

    try:
        yield {**settings, "on_progress": on_progress, "on_record": on_record}
        follower.summarise()
    finally:
        follower.close()


class _Follower:
    """Logs what is new in a comparison: that of other drivers in the same folder is theirs to log."""

    def __init__(self, trackers: Sequence[str], out: Path) -> None:
        self.trackers, self.out = trackers, out
        self.latest: Comparison | None = None
        self.open: dict[tuple[str, int], list[TrackedRun]] = {}
        self.failed: set[tuple[str, int]] = set()

    def look(self, comparison: Comparison) -> None:
        first, self.latest = self.latest is None, comparison
        for record in comparison.records if first else ():
            self.ended(record)
        for run in comparison.progress:
            for log in self._logs(run.arm, run.seed):
                for entry in run.curve or ({"epoch": run.epoch, **run.numbers},):
                    log.log(entry["epoch"], _without_epoch(entry))
        for failure in comparison.failures:
            if (ended := (failure.arm, failure.seed)) not in self.failed:
                self.failed.add(ended)
                for log in self._logs(*ended):
                    log.finish({}, failed=True)
                del self.open[ended]

    def ended(self, record: RunRecord) -> None:
        """Log what is missing of a finished run, and its test scores."""
        for log in self._logs(record.arm, record.seed):
            for entry in record.curve:
                log.log(entry["epoch"], _without_epoch(entry))
            scores = {f"test/{name}": score for name, score in record.test.items()}
            log.finish({**scores, "parameters": record.parameters, "seconds": record.seconds})
        del self.open[record.arm, record.seed]

    def summarise(self) -> None:
        """Log one run of its own for the whole comparison: mean scores and costs of each arm."""
        if self.latest is None or not self.latest.records:
            return
        plan, numbers = self.latest.plan, {}
        for arm in plan.arms:
            for metric in plan.metrics:
                scores = [record.test[metric.name] for record in self.latest.records if record.arm == arm]
                if scores:
                    numbers[f"test/{metric.name}/{arm}"] = fmean(scores)
        for cost in self.latest.costs:
            numbers |= {f"{name}/{cost.arm}": getattr(cost, name) for name in _COSTS}
        for log in self._started("comparison", "comparison", plan.to_json()):
            log.finish(numbers)

    def close(self) -> None:
        for log in (log for logs in self.open.values() for log in logs):
            log.close()

    def _logs(self, arm: str, seed: int) -> list[TrackedRun]:
        if (arm, seed) not in self.open:
            assert self.latest is not None
            config = {"arm": self.latest.plan.arm(arm).label, "seed": seed, **_shared(self.latest.plan)}
            self.open[arm, seed] = self._started(f"{arm} seed {seed}", arm, config)
        return self.open[arm, seed]

    def _started(self, name: str, group: str, config: Mapping[str, Any]) -> list[TrackedRun]:
        assert self.latest is not None
        plan = self.latest.plan
        project = plan.title if isinstance(plan, TaskPlan) else f"{plan.model} on {Path(plan.data).name}"
        return [
            TrackedRun(tracker, self.out, project=f"saam {project}", name=name, group=group, config=config)
            for tracker in self.trackers
        ]


def _shared(plan: Plan | TaskPlan) -> dict[str, Any]:
    sides = ("arms", "seeds", "reference", "focus", "aliases", "stopped", "metrics")
    return {name: value for name, value in plan.to_json().items() if name not in sides}


def _without_epoch(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != "epoch"}
