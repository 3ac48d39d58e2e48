"""Run a whole comparison: every arm with every seed, several runs at a time, stored in a folder.

A finished run is not repeated, and an interrupted one continues after its last epoch. On a CPU, a comparison that was
stopped, in whatever way, ends with the same records as an undisturbed one; on a GPU, up to rounding. Arms and seeds can
be added later. A folder holds one setting (model, data, recipe, placement, start); another one is refused. Several
drivers, also on several machines that share the folder, share the work.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from saam._core.devices import best_device, require_device, require_threads
from saam._core.files import writable
from saam._core.objects import resolve
from saam.comparison.comparison import Comparison
from saam.comparison.contents import Contents
from saam.comparison.controls import with_controls
from saam.comparison.dispatch import alone, price, results
from saam.comparison.environment import environment
from saam.comparison.plan import Plan
from saam.comparison.plan_data import DataSummary, coloured, summary_of
from saam.comparison.plan_file import check_setting, kept_aliases, kept_costs, kept_precision
from saam.comparison.precision import with_precision
from saam.comparison.records import Finished, RunRecord
from saam.comparison.rehearsal import try_networks
from saam.comparison.schedule import MOST_SEEDS
from saam.comparison.task import TaskPlan
from saam.data import Splits, load_data, train_batches
from saam.executors import Processes
from saam.training import require_precision

__all__ = ["default_workers", "drive"]


def drive(
    plan: Plan | TaskPlan,
    out: str | Path,
    *,
    workers: int | None = None,
    threads: int = 1,
    executor: Executor | None = None,
    device: str | Sequence[str] | None = None,
    costs: bool = True,
    retry: bool = False,
    max_seeds: int | None = None,
    budget: float = math.inf,
    on_data: Callable[[Splits], object] | None = None,
    on_record: Callable[[RunRecord], object] | None = None,
    on_progress: Callable[[Comparison], object] | None = None,
) -> Comparison:
    """Run everything that a plan defines and its folder does not hold yet.

    Runs are made seed by seed. Costs are measured afterwards, when nothing else runs. A failed run is recorded with its
    error, and the other runs continue. If the precision of the recipe is "auto", the faster one is measured once and
    stored in the folder. A script that calls this without an executor needs ``if __name__ == "__main__":``, because
    worker processes import it.

    Args:
        plan: The comparison.
        out: Folder for the results, created if necessary; `saam.comparison.store` describes its layout.
        workers: Number of parallel runs. None means one per processor, or per device; with an executor, as many as it
            has workers (its ``workers``, or ``_max_workers`` of the standard library), or else all at once.
        threads: Number of torch threads of each run and of the cost measurement.
        executor: Runs the jobs instead of processes on this machine: any `concurrent.futures.Executor` whose workers
            import the same code. It is not shut down.
        device: Name for torch, or several to distribute the runs over; None means the best one.
        costs: Whether to measure the costs of the arms. The costs of the user's own tasks are never measured.
        retry: Whether to repeat runs that failed before.
        max_seeds: While arms are undecided, seeds are added for them and for the reference, up to this number. The
            verdict is valid whenever this stops. An arm with a failed run gets no more seeds. None adds no seeds.
        budget: Seconds after which no seed is added.
        on_data: Called with the data after loading.
        on_record: Called with the record of each run that finishes.
        on_progress: Called with the comparison so far: at the start, about every second, and after each run.

    Returns:
        The comparison, including the failures.

    Raises:
        ValueError: If a model, data set, option or device does not exist, the device does not support the precision,
            the folder holds another comparison, or a file in it is damaged.
        OSError: If the folder cannot be written.
        RuntimeError: If the workers have other data or versions, or the costs cannot be measured.
    """
    if threads < 1 or (workers is not None and workers < 1):
        raise ValueError(f"expected at least one worker with one thread, got workers={workers} and threads={threads}")
    if max_seeds is not None and not 0 < max_seeds <= MOST_SEEDS:
        raise ValueError(f"expected max_seeds of 1 to {MOST_SEEDS:,}, or None, got {max_seeds}")
    require_threads(threads)
    begun = time.monotonic()
    out, devices = Path(out), [device] if device is None or isinstance(device, str) else list(device)
    for name in devices if executor is None else ():
        require_device(name)
    place = best_device(devices[0]) if executor is None else _here(devices[0])
    if isinstance(plan, Plan) and (executor is None or devices[0] is not None):
        require_precision(plan.recipe, best_device(devices[0]))
    data = _checked(plan, on_data)
    tell = on_progress or (lambda comparison: None)
    with writable(out), alone(out, "plan"):
        plan = _settled(plan, out, data, threads=threads, device=place)
        check_setting(out, plan, data.fingerprint)
        costs_id = ""
        if isinstance(plan, Plan):
            costs_id = _costs_id(plan, data, threads, place) if costs else kept_costs(out, plan)
        with _written(out):
            contents = Contents(out, plan, data, costs_id, retry=retry)
    tell(contents.comparison())
    if not contents.missing() and max_seeds is None and not (costs and contents.unpriced()):
        return contents.comparison()
    count = workers or (len(devices) if len(devices) > 1 else default_workers(threads, place))
    count = count if max_seeds else min(count, max(1, len(contents.missing())))

    def room() -> int:  # it changes where machines join a cluster or leave it
        return count if executor is None else workers or _size(executor) or len(contents.ids)

    with Processes(count) if executor is None else nullcontext(executor) as pool, _written(out):
        while True:
            for finished in results(pool, contents, devices, room, threads, tell):
                contents.add(finished)
                if isinstance(finished, Finished) and on_record is not None:
                    on_record(finished.record)
                tell(contents.comparison())
            if max_seeds is None or time.monotonic() - begun > budget or not contents.add_seed(max_seeds):
                break
            tell(contents.comparison())
        if costs and not isinstance(plan, TaskPlan) and contents.unpriced():
            price(pool, contents, plan, threads=threads, device=devices[0])
            tell(contents.comparison())
    return contents.comparison()


def _settled(
    plan: Plan | TaskPlan, out: Path, data: DataSummary, *, threads: int, device: torch.device
) -> Plan | TaskPlan:
    """Return the plan with what is decided once for a folder: its precision, and the widths of its controls."""
    if isinstance(plan, TaskPlan):
        return plan
    trial: dict[str, Any] = {
        "classes": data.classes,
        "image_size": data.image_size,
        "images": data.images,
        "threads": threads,
        "device": device,
    }
    plan = with_precision(plan, known=kept_precision(out), **trial)
    return with_controls(plan, known=kept_aliases(out, plan.arm(plan.focus).label), **trial)


@contextmanager
def _written(out: Path) -> Iterator[None]:
    """Turn an error of writing the folder into one line with advice."""
    try:
        yield
    except ConnectionError:  # a closed pipe of the caller's
        raise
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(
            f"cannot write to {error.filename or out} ({error.strerror}): free some room or make it writable, and "
            "start again; what is finished is kept"
        ) from error


def _here(device: str | None) -> torch.device:
    """Return the device for this process's own computations; the workers may have devices that it lacks."""
    try:
        return require_device(device)
    except ValueError:
        return torch.device("cpu")


def _checked(plan: Plan | TaskPlan, on_data: Callable[[Splits], object] | None) -> DataSummary:
    """Load the data, which fills the cache for the workers, and try the networks, so that errors show now."""
    if isinstance(plan, TaskPlan):
        for name in plan.code():
            resolve(name)
        return DataSummary()
    recipe = plan.recipe
    splits = load_data(plan.data, **plan.data_options)
    train_batches(splits, batch_size=recipe.batch_size, seed=0, augmentation=recipe.augmentation, mixup=recipe.mixup)
    try_networks(plan, classes=len(splits.classes), image_size=splits.train.shape)
    if on_data is not None:
        on_data(splits)
    return summary_of(coloured(splits, plan.model, pretrained=plan.pretrained))


def _size(executor: Executor) -> int | None:
    """Return the number of workers of an executor, or None if it does not say."""
    return getattr(executor, "workers", None) or getattr(executor, "_max_workers", None)


def default_workers(threads: int, device: torch.device) -> int:
    """Return the default number of parallel runs on this machine."""
    if device.type != "cpu":
        return 1
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, processors // threads)


def _costs_id(plan: Plan, data: DataSummary, threads: int, device: torch.device) -> str:
    """Return a hash of everything that the costs depend on, including this machine."""
    content = {
        "environment": {**environment(device), "threads": threads},
        "model": [plan.model, plan.model_options, data.classes, plan.where, plan.start, plan.aliases],
        "batch": [data.image_size, data.images, plan.recipe.to_dict()],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
