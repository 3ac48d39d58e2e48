"""Hand what is missing to an executor, runs and costs, and share it with other drivers."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import contextmanager
from pathlib import Path

from saam.comparison.comparison import Comparison
from saam.comparison.contents import Contents
from saam.comparison.costs import arm_costs
from saam.comparison.job import Job, failure, work
from saam.comparison.leases import Leases
from saam.comparison.plan import Plan
from saam.comparison.records import FailureRecord, Finished
from saam.comparison.store import make_states, read_costs, state_file, tidy_states, write_costs

__all__ = ["alone", "price", "results"]

_GLANCE = 1.0  # seconds between two looks at how far the runs are
_LIVES = 3  # a run whose worker died so often failed


def results(
    pool: Executor,
    contents: Contents,
    devices: Sequence[str | None],
    room: Callable[[], int],
    threads: int,
    tell: Callable[[Comparison], object],
) -> Iterator[Finished | FailureRecord]:
    """Yield the result of each missing run as it finishes, and wait for the runs of other drivers."""
    deaths = dict.fromkeys(contents.ids.values(), 0)
    pending: dict[Future[Finished | FailureRecord], Job] = {}
    alive = False
    try:
        with Leases(contents.out / "leases") as leases:
            while missing := contents.missing():
                slots = room()
                for run_id, (arm, seed) in missing.items():
                    if len(pending) < slots and run_id not in contents.under_way and leases.take(run_id):
                        contents.read()  # what another driver has finished meanwhile
                        if run_id not in contents.missing():
                            leases.release(run_id)
                            continue
                        make_states(contents.out)  # another driver that ended may have removed it
                        state = state_file(contents.out.absolute(), run_id)  # workers may run in another folder
                        busy = [job.device for job in pending.values()]
                        job = Job(contents.plan, arm, seed, run_id, threads, min(devices, key=busy.count), state)
                        pending[pool.submit(work, job)] = job
                        contents.under_way.append(run_id)
                if not pending:
                    time.sleep(_GLANCE)
                    contents.read()
                done, _ = wait(pending, timeout=_GLANCE, return_when=FIRST_COMPLETED)
                for future in [future for future in pending if future in done]:
                    job = pending.pop(future)
                    contents.under_way.remove(job.id)
                    result = _result(future, job, deaths, pool, alive=alive)
                    alive = alive or result is not None
                    if not leases.holds(job.id):  # suspended for long: another driver took over, and may be done
                        contents.read()
                    if result is not None and job.id in contents.missing():
                        yield result
                    leases.release(job.id)
                if not done:
                    tell(contents.comparison())
    finally:
        for future in pending:
            future.cancel()
        tidy_states(contents.out)


@contextmanager
def alone(out: Path, job: str) -> Iterator[None]:
    """Wait until no other driver of the folder is at this job, and keep them from it."""
    with Leases(out / "leases") as leases:
        while not leases.take(job):
            time.sleep(_GLANCE)
        yield


def price(pool: Executor, contents: Contents, plan: Plan, *, threads: int, device: str | None) -> None:
    """Measure the costs that are not known, while no other driver does."""
    with alone(contents.out, "costs"):
        contents.costs = read_costs(contents.out, contents.costs_id)  # another driver may just have measured
        if not (unpriced := contents.unpriced()):
            return
        data = contents.data
        contents.costs += arm_costs(
            pool,
            plan,
            unpriced,
            contents.costs,
            classes=data.classes,
            image_size=data.image_size,
            images=data.images,
            threads=threads,
            device=device,
        )
        write_costs(contents.out, contents.costs, contents.costs_id)


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
