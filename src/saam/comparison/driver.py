"""Run a whole comparison: every arm with every seed, several runs at a time, stored in a folder.

A finished run is not repeated, and an interrupted one continues after its last epoch. A comparison that was stopped, in
whatever way, ends with the same records as an undisturbed one. Arms and seeds can be added later. A folder holds one
setting (model, data, recipe, placement, start); another one is refused. Several drivers, also on several machines that
share the folder, share the work.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from saam._core.devices import best_device, require_device, require_threads
from saam._core.objects import resolve
from saam.comparison.arm import WIDER, WIDER_TIME
from saam.comparison.controls import with_controls
from saam.comparison.costs import arm_costs
from saam.comparison.job import Finished, Job, build_model, coloured, environment, failure, preprocessing_for, work
from saam.comparison.leases import Leases
from saam.comparison.plan import Plan
from saam.comparison.precision import with_precision
from saam.comparison.records import FailureRecord, RunRecord
from saam.comparison.schedule import MOST_SEEDS
from saam.comparison.statistics import undecided
from saam.comparison.store import (
    Comparison,
    check_metrics,
    check_setting,
    forget_failure,
    kept_aliases,
    kept_costs,
    kept_precision,
    make_states,
    read_costs,
    read_failures,
    read_progress,
    read_records,
    state_file,
    tidy_states,
    write_costs,
    write_failure,
    write_plan,
    write_run,
)
from saam.comparison.task import TaskPlan
from saam.data import Splits, load_data, train_batches
from saam.executors import Processes
from saam.models import Preprocessing
from saam.training import check_writable, require_precision

__all__ = ["default_workers", "drive"]

_GLANCE = 1.0  # seconds between two looks at how far the runs are
_LIVES = 3  # a run whose worker died so often failed


@dataclass(frozen=True)
class _Setting:
    """What a comparison needs to know of its data."""

    fingerprint: str = ""
    classes: int = 0
    image_size: tuple[int, int] = (0, 0)
    images: int = 0
    preprocessing: Preprocessing | None = None


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
        require_precision(plan.recipe, place)
    setting = _checked(plan, on_data)
    tell = on_progress or (lambda comparison: None)
    if isinstance(plan, Plan):
        trial: dict[str, Any] = {
            "classes": setting.classes,
            "image_size": setting.image_size,
            "images": setting.images,
            "threads": threads,
            "device": place,
        }
        plan = with_precision(plan, known=kept_precision(out), **trial)
        plan = with_controls(plan, known=kept_aliases(out, plan.arm(plan.focus).label), **trial)
    check_setting(out, plan, setting.fingerprint)
    check_writable(out)
    costs_id = ""
    if isinstance(plan, Plan):
        costs_id = _costs_id(plan, setting, threads, place) if costs else kept_costs(out, plan)
    with _written(out):
        folder = _Folder(out, plan, setting, costs_id, retry=retry)
    tell(folder.comparison())
    if not folder.missing() and max_seeds is None and not (costs and folder.unpriced()):
        return folder.comparison()
    count = workers or (len(devices) if len(devices) > 1 else default_workers(threads, place))
    count = count if max_seeds else min(count, max(1, len(folder.missing())))

    def room() -> int:  # it changes where machines join a cluster or leave it
        return count if executor is None else workers or _size(executor) or len(folder.ids)

    with Processes(count) if executor is None else nullcontext(executor) as pool, _written(out):
        while True:
            for finished in _results(pool, folder, devices, room, threads, tell):
                folder.add(finished)
                if isinstance(finished, Finished) and on_record is not None:
                    on_record(finished.record)
                tell(folder.comparison())
            if max_seeds is None or time.monotonic() - begun > budget or not folder.add_seed(max_seeds):
                break
            tell(folder.comparison())
        if costs and not isinstance(plan, TaskPlan) and folder.unpriced():
            _price(pool, folder, plan, threads=threads, device=devices[0])
            tell(folder.comparison())
    return folder.comparison()


def _price(pool: Executor, folder: "_Folder", plan: Plan, *, threads: int, device: str | None) -> None:
    """Measure the costs that are not known, while no other driver does."""
    with Leases(folder.out / "leases") as leases:
        while folder.unpriced() and not leases.take("costs"):
            time.sleep(_GLANCE)
            folder.costs = read_costs(folder.out, folder.costs_id)
        folder.costs = read_costs(folder.out, folder.costs_id)  # another driver may just have measured
        if not (unpriced := folder.unpriced()):
            return
        setting = folder.setting
        folder.costs += arm_costs(
            pool,
            plan,
            unpriced,
            folder.costs,
            classes=setting.classes,
            image_size=setting.image_size,
            images=setting.images,
            threads=threads,
            device=device,
        )
        write_costs(folder.out, folder.costs, folder.costs_id)


class _Folder:
    """The contents of a comparison's folder, kept up to date."""

    def __init__(self, out: Path, plan: Plan | TaskPlan, setting: _Setting, costs_id: str, *, retry: bool) -> None:
        self.out, self.setting, self.costs_id, self.retry = out, setting, costs_id, retry
        self.tried: set[str] = set()  # runs that failed here, and are not tried again
        self.costs = read_costs(out, costs_id)
        self.records: dict[str, RunRecord] = {}
        self.failures: dict[str, FailureRecord] = {}
        self.under_way: list[str] = []
        self._follow(plan)

    def _follow(self, plan: Plan | TaskPlan) -> None:
        self.plan = plan
        fingerprint = self.setting.fingerprint
        self.ids = {(arm, seed): plan.run_id(arm, seed, fingerprint=fingerprint) for arm, seed in plan.schedule()}
        self.read()
        for run_id in self.failures.keys() - self.tried if self.retry else ():
            forget_failure(self.out, run_id)
            del self.failures[run_id]
        check_metrics(self.out, plan, self.records.values())
        write_plan(
            self.out,
            plan,
            classes=self.setting.classes,
            runs=list(self.ids.values()),
            costs=self.costs_id,
            preprocessing=self.setting.preprocessing,
        )

    def add_seed(self, most: int) -> bool:
        """Add a seed for the undecided arms. Return False if all are decided, or there are enough seeds."""
        plan = self.plan
        failed = {failure.arm for failure in self.failures.values()}
        if len(plan.seeds) >= most or plan.reference in failed:
            return False
        untold = {*undecided(self.records.values(), plan.reference, plan.metrics[:1])} - failed
        if not untold:
            return False
        untold.add(plan.reference)
        stopped = {arm: plan.stopped.get(arm, len(plan.seeds)) for arm in plan.arms if arm not in untold}
        self._follow(replace(plan, seeds=(*plan.seeds, max(plan.seeds) + 1), stopped=stopped))
        return True

    def unpriced(self) -> list[str]:
        """Return the arms without costs; empty for the user's own tasks."""
        if isinstance(self.plan, TaskPlan):
            return []
        return [arm for arm in self.plan.arms if arm not in {cost.arm for cost in self.costs}]

    def read(self) -> None:
        """Read new records and failures, of this driver and of others."""
        open_runs = {run: run_id for run, run_id in self.ids.items() if run_id not in self.records}
        self.records |= read_records(self.out, open_runs)
        self.failures = read_failures(self.out, open_runs, self.records)

    def missing(self) -> dict[str, tuple[str, int]]:
        """Return (arm, seed) of the runs that have neither finished nor failed, by id."""
        done = self.records.keys() | self.failures.keys()
        return {run_id: run for run, run_id in self.ids.items() if run_id not in done}

    def add(self, result: Finished | FailureRecord) -> None:
        """Store the result of a job.

        Raises:
            RuntimeError: If it was computed with other data or versions.
        """
        if isinstance(result, FailureRecord):
            write_failure(self.out, result)
            self.tried.add(result.id)
            self.failures[result.id] = result
            return
        record = result.record
        if record.id != self.ids[record.arm, record.seed]:
            raise RuntimeError(
                f"the run of arm {record.arm!r} with seed {record.seed} had other data or other versions than this "
                "process; give the workers the same and start again"
            )
        write_run(self.out, result)
        self.records[record.id] = record

    def comparison(self) -> Comparison:
        """Return the comparison so far."""
        in_order = self.ids.values()
        return Comparison(
            self.plan,
            tuple(self.records[run_id] for run_id in in_order if run_id in self.records),
            self.costs,
            self.setting.classes,
            tuple(self.failures[run_id] for run_id in in_order if run_id in self.failures),
            read_progress(self.out, self.under_way),
            () if self.setting.preprocessing is None else self.setting.preprocessing.classes,
        )


def _results(
    pool: Executor,
    folder: _Folder,
    devices: Sequence[str | None],
    room: Callable[[], int],
    threads: int,
    tell: Callable[[Comparison], object],
) -> Iterator[Finished | FailureRecord]:
    """Yield the result of each missing run as it finishes, and wait for the runs of other drivers."""
    deaths = dict.fromkeys(folder.ids.values(), 0)
    pending: dict[Future[Finished | FailureRecord], Job] = {}
    alive = False
    try:
        with Leases(folder.out / "leases") as leases:
            while missing := folder.missing():
                slots = room()
                for run_id, (arm, seed) in missing.items():
                    if len(pending) < slots and run_id not in folder.under_way and leases.take(run_id):
                        folder.read()  # what another driver has finished meanwhile
                        if run_id not in folder.missing():
                            leases.release(run_id)
                            continue
                        make_states(folder.out)  # another driver that ended may have removed it
                        state = state_file(folder.out.absolute(), run_id)  # workers may run in another folder
                        busy = [job.device for job in pending.values()]
                        job = Job(folder.plan, arm, seed, run_id, threads, min(devices, key=busy.count), state)
                        pending[pool.submit(work, job)] = job
                        folder.under_way.append(run_id)
                if not pending:
                    time.sleep(_GLANCE)
                    folder.read()
                done, _ = wait(pending, timeout=_GLANCE, return_when=FIRST_COMPLETED)
                for future in [future for future in pending if future in done]:
                    job = pending.pop(future)
                    folder.under_way.remove(job.id)
                    result = _result(future, job, deaths, pool, alive=alive)
                    alive = alive or result is not None
                    if not leases.holds(job.id):  # suspended for long: another driver took over, and may be done
                        folder.read()
                    if result is not None and job.id in folder.missing():
                        yield result
                    leases.release(job.id)
                if not done:
                    tell(folder.comparison())
    finally:
        for future in pending:
            future.cancel()
        tidy_states(folder.out)


def _result(
    future: Future[Finished | FailureRecord], job: Job, deaths: dict[str, int], pool: Executor, *, alive: bool
) -> Finished | FailureRecord | None:
    """Return the result of a job, or None if its worker died and the run should be tried again.

    Raises:
        OSError: If the state of the run could not be written.
        RuntimeError: If workers die before any has returned a result, or cannot import what this process can.
    """
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, OSError):
        raise error
    if isinstance(error, ImportError):
        raise RuntimeError(f"a worker lacks code that this process has: {error}") from error
    deaths[job.id] += 1
    if deaths[job.id] < _LIVES:
        return None
    reason = f"its worker died {_LIVES} times ({type(error).__name__}: {error}); is the memory full?"
    if not alive and not _works(pool):
        raise RuntimeError(
            f"the run of arm {job.arm!r} with seed {job.seed} failed: {reason} Take fewer workers or a smaller batch. "
            "Does a script lack 'if __name__ == \"__main__\":'?"
        ) from error
    return failure(job, reason)


def _works(pool: Executor) -> bool:
    """Return whether the executor can run a trivial job."""
    try:
        return pool.submit(int, 1).result() == 1
    except Exception:  # whatever an executor raises
        return False


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


def _checked(plan: Plan | TaskPlan, on_data: Callable[[Splits], object] | None) -> _Setting:
    """Load the data, which fills the cache for the workers, and build every network, so that errors show now."""
    if isinstance(plan, TaskPlan):
        for name in plan.code():
            resolve(name)
        return _Setting()
    recipe = plan.recipe
    splits = load_data(plan.data, **plan.data_options)
    train_batches(splits, batch_size=recipe.batch_size, seed=0, augmentation=recipe.augmentation, mixup=recipe.mixup)
    for arm in plan.arms:
        if plan.arm(arm).name not in (WIDER, WIDER_TIME):
            build_model(plan, arm, seed=0, classes=len(splits.classes))
    if on_data is not None:
        on_data(splits)
    splits = coloured(splits, plan.model, pretrained=plan.pretrained)
    shape, images = splits.train.shape, len(splits.train)
    return _Setting(splits.fingerprint, len(splits.classes), shape, images, preprocessing_for(splits))


def _size(executor: Executor) -> int | None:
    """Return the number of workers of an executor, or None if it does not say."""
    return getattr(executor, "workers", None) or getattr(executor, "_max_workers", None)


def default_workers(threads: int, device: torch.device) -> int:
    """Return the default number of parallel runs on this machine."""
    if device.type != "cpu":
        return 1
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, processors // threads)


def _costs_id(plan: Plan, setting: _Setting, threads: int, device: torch.device) -> str:
    """Return a hash of everything that the costs depend on, including this machine."""
    content = {
        "environment": {**environment(device), "threads": threads},
        "model": [plan.model, plan.model_options, setting.classes, plan.where, plan.start, plan.aliases],
        "batch": [setting.image_size, setting.images, plan.recipe.to_dict()],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
