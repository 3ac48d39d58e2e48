"""One run of the user's own task: one arm, one seed."""

import json
import time
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from typing import Any

from saam._core.devices import Device, require_device
from saam._core.files import write_atomically
from saam._core.objects import resolve
from saam._core.random import all_seeded
from saam.comparison.environment import environment, now
from saam.comparison.records import RunRecord, Tell
from saam.comparison.task import Context, Outcome, TaskPlan
from saam.measure import count_parameters

__all__ = ["run_task"]


def run_task(
    plan: TaskPlan,
    arm: str,
    seed: int,
    *,
    tell: Tell,
    device: Device = None,
    state: Path | None = None,
) -> tuple[RunRecord, Outcome]:
    """Call the user's function for one arm with one seed.

    Args:
        plan: The comparison.
        arm: Label of the arm.
        seed: Seed of all draws.
        tell: Called with each epoch that the function reports.
        device: Name for torch; None means the best one.
        state: Beside this file the run keeps its learning curve, and a folder for what the function keeps.

    Returns:
        The record, and what the function returned.

    Raises:
        TypeError: If the function returned no scores by name.
        ValueError: If it returned none for one of the plan's metrics, or one outside the metric's limits.
    """
    run_id = plan.run_id(arm, seed)
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
    chosen = require_device(device)
    context = Context(plan.arm(arm), seed, chosen, folder, plan.options, on_report)
    task = resolve(plan.task)
    with all_seeded(seed, chosen):
        returned = task(arm, seed, context)
    outcome = returned if isinstance(returned, Outcome) else Outcome(returned)
    record = RunRecord(
        id=run_id,
        arm=arm,
        model=plan.title,
        model_options=plan.options,
        data="",
        data_options={},
        recipe={},
        where="",
        start="",
        seed=seed,
        test=_test_scores(plan, outcome),
        validation={},
        curve=tuple(curve),
        parameters=0 if outcome.model is None else count_parameters(outcome.model),
        seconds=seconds + time.perf_counter() - start,
        environment=environment(chosen),
        finished=now(),
    )
    return record.as_read(), outcome


def _test_scores(plan: TaskPlan, outcome: Outcome) -> dict[str, float]:
    """Return the scores that a task returned.

    Raises:
        TypeError: If they are not numbers by name.
        ValueError: If one of the plan's metrics is missing, or outside its limits.
    """
    expected = f"the task {plan.title} must return its scores by metric name, or an Outcome"
    if not isinstance(outcome.metrics, Mapping):
        raise TypeError(f"{expected}, got {outcome.metrics!r:.80}")
    try:
        test = {str(name): float(score) for name, score in outcome.metrics.items()}
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{expected}; one is no number in {outcome.metrics!r:.200}") from None
    for metric in plan.metrics:
        if metric.name in test and not (metric.low <= test[metric.name] <= metric.high or isnan(test[metric.name])):
            raise ValueError(
                f"the task {plan.title} returned {metric.name} {test[metric.name]:g}, and the metric was declared with "
                f"low={metric.low:g} and high={metric.high:g}"
            )
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
