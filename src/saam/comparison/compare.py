"""A whole comparison: every arm with every seed, several runs at a time, kept in a folder.

A run whose record is there is not repeated: a comparison that was stopped goes on where it was and ends with the same
records, and one with other arms or seeds than before keeps all that was run. A folder holds one setting (model, data,
recipe, placement, start); another one is refused.
"""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path

import torch

from saam.comparison.cost import best_device, require_threads
from saam.comparison.plan import PLAIN, Plan
from saam.comparison.pool import arm_costs, processes, results
from saam.comparison.records import RunRecord
from saam.comparison.runner import build_model, environment
from saam.comparison.store import (
    Comparison,
    check_setting,
    read_costs,
    read_records,
    write_costs,
    write_plan,
    write_run,
)
from saam.data import Splits, load_data, train_batches
from saam.training import check_writable

__all__ = ["compare"]


def compare(
    plan: Plan,
    out: str | Path,
    *,
    workers: int | None = None,
    threads: int = 1,
    executor: Executor | None = None,
    device: str | None = None,
    costs: bool = True,
    on_data: Callable[[Splits], object] | None = None,
    on_record: Callable[[RunRecord], object] | None = None,
    on_progress: Callable[[Comparison], object] | None = None,
) -> Comparison:
    """Run what a plan asks for and its folder does not hold yet.

    Costs come first, measured in one worker while nothing else runs, then the runs, seed by seed. A script that calls
    this without an executor needs ``if __name__ == "__main__":``, as always with processes.

    Args:
        plan: what is compared.
        out: folder of the results, made if need be; the layout is that of `saam.comparison.store`.
        workers: processes side by side; None: one for each processor at hand, or a single one for a GPU.
        threads: of torch in each worker, and where costs are measured.
        executor: does the runs in place of own processes, each in a process of its own; it is not shut down.
        device: as torch names it, or None for the best there is.
        costs: False leaves out the measurement.
        on_data: called with the data, once they are loaded.
        on_record: called with the record of each run that finishes.
        on_progress: called with the comparison so far: at the start, after the costs, and after each run.

    Returns:
        The finished comparison.

    Raises:
        ValueError: a model, a data set or an option that does not exist, a folder that holds another comparison, or a
            damaged file in it.
        OSError: the folder cannot be written.
        RuntimeError: a run failed; the error names it, and finished runs are kept.
    """
    if threads < 1 or (workers is not None and workers < 1):
        raise ValueError(f"expected at least one worker with one thread, got workers={workers} and threads={threads}")
    require_threads(threads)
    out, place = Path(out), best_device(device)
    fingerprint, classes, image_size = _checked(plan, on_data)
    check_setting(out, plan, fingerprint)
    check_writable(out)
    ids = {(arm, seed): plan.run_id(arm, seed, fingerprint=fingerprint) for arm, seed in plan.schedule()}
    costs_id = _costs_id(plan, classes, image_size, threads, place)
    records, measured = read_records(out, ids), read_costs(out, costs_id)
    missing = [run for run, run_id in ids.items() if run_id not in records]
    write_plan(out, plan, classes=classes, runs=list(ids.values()), costs=costs_id)

    def so_far() -> Comparison:
        done = tuple(records[run_id] for run_id in ids.values() if run_id in records)
        return Comparison(plan, done, measured, classes)

    tell = on_progress or (lambda comparison: None)
    tell(so_far())
    measure = costs and not measured
    if not missing and not measure:
        return so_far()
    workers = min(workers or _default_workers(threads, place), max(1, len(missing)))
    with processes(workers, threads) if executor is None else nullcontext(executor) as pool:
        if measure:
            measured = arm_costs(pool, plan, classes=classes, image_size=image_size, threads=threads, device=device)
            write_costs(out, measured, costs_id)
            tell(so_far())
        for record, weights in results(pool, plan, missing, device=device, workers=workers):
            if record.id != ids[record.arm, record.seed]:
                raise RuntimeError(
                    f"the run of arm {record.arm!r} with seed {record.seed} had other data or other versions than this "
                    "process; give the workers the same and start again"
                )
            write_run(out, record, weights)
            records[record.id] = record
            if on_record is not None:
                on_record(record)
            tell(so_far())
    return so_far()


def _checked(plan: Plan, on_data: Callable[[Splits], object] | None) -> tuple[str, int, tuple[int, int]]:
    """Load the data, so that the workers find them in the cache, and build every network: what is wrong shows here.

    Returns:
        Fingerprint, number of classes and image size of the data.
    """
    splits = load_data(plan.data, **plan.data_options)
    train_batches(splits, batch_size=plan.recipe.batch_size, seed=0, augmentation=plan.recipe.augmentation)
    for arm in plan.arms:
        build_model(plan, arm, seed=0, classes=len(splits.classes))
    if on_data is not None:
        on_data(splits)
    return splits.fingerprint, len(splits.classes), splits.train.shape


def _default_workers(threads: int, device: torch.device) -> int:
    if device.type != "cpu":
        return 1
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, processors // threads)


def _costs_id(plan: Plan, classes: int, image_size: tuple[int, int], threads: int, device: torch.device) -> str:
    """Hash of all that the costs depend on, this machine included."""
    content = {
        "environment": {**environment(device), "threads": threads},
        "model": [plan.model, plan.model_options, classes, plan.where, plan.start],
        "arms": sorted({PLAIN, *plan.arms}),
        "batch": [plan.recipe.batch_size, image_size, plan.recipe.precision, plan.recipe.channels_last],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
