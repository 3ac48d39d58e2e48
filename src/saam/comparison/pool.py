"""Work for the workers of an executor: the costs first and alone, then the runs, gathered as they finish."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import torch

from saam.comparison.cost import measure_costs
from saam.comparison.plan import PLAIN, Plan
from saam.comparison.records import CostRecord, RunRecord
from saam.comparison.runner import build_model, run

__all__ = ["arm_costs", "processes", "results"]


Costs = tuple[CostRecord, ...]


@contextmanager
def processes(workers: int, threads: int) -> Iterator[Executor]:
    """Worker processes with so many threads each, which leave when they are done, at an error, or with this process."""
    context = multiprocessing.get_context("spawn")
    end, lifeline = context.Pipe(duplex=False)  # the workers hold the reading end, this process alone the other
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(threads, end))
    try:
        yield pool
    except BaseException:
        lifeline.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        lifeline.close()
        end.close()


def arm_costs(executor: Executor, plan: Plan, *, classes: int, image_size: tuple[int, int], **settings: Any) -> Costs:
    """Measure what the plan's arms and the plain backbone cost, in one worker while the others have nothing to do.

    Args:
        executor: has the work done.
        plan: what is compared.
        classes: number of classes of the data.
        image_size: (H, W) of the images.
        settings: threads and device of `saam.comparison.measure_costs`.

    Raises:
        RuntimeError: it failed.
    """
    future = executor.submit(_measure, plan, classes, image_size, settings)
    if error := future.exception():
        raise _failure(error, "the measurement of the costs") from error
    return future.result()


def results(
    executor: Executor, plan: Plan, runs: Sequence[tuple[str, int]], *, device: str | None, workers: int
) -> Iterator[tuple[RunRecord, bytes]]:
    """Yield record and network (in safetensors' format) of each run as it finishes.

    Args:
        executor: has the work done, first come, first served.
        plan: what is compared.
        runs: (arm, seed) of each.
        device: as `saam.comparison.run` takes it.
        workers: how many runs are under way at a time, for the error message.

    Raises:
        RuntimeError: a run failed or its worker died; the others are cancelled.
    """
    pending: dict[Future[tuple[RunRecord, bytes]], tuple[str, int]] = {}
    try:
        for arm, seed in runs:
            pending[executor.submit(_work, plan, arm, seed, device)] = arm, seed
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            in_order = [future for future in pending if future in done]
            for future in sorted(in_order, key=lambda future: future.exception() is not None):
                if error := future.exception():
                    broken = isinstance(error, BrokenExecutor)
                    failed = list(pending.values())[:workers] if broken else [pending[future]]
                    names = " or ".join(f"arm {arm!r} with seed {seed}" for arm, seed in failed)
                    raise _failure(error, f"the run of {names}") from error
                del pending[future]
                yield future.result()
    finally:
        for future in pending:
            future.cancel()


def _work(plan: Plan, arm: str, seed: int, device: str | None) -> tuple[RunRecord, bytes]:
    from safetensors.torch import save

    record, model = run(plan, arm, seed, device=device)
    return record, save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()})


def _measure(plan: Plan, classes: int, image_size: tuple[int, int], settings: dict[str, Any]) -> Costs:
    models = {arm: build_model(plan, arm, seed=0, classes=classes) for arm in dict.fromkeys((PLAIN, *plan.arms))}
    return measure_costs(models, plan.recipe, image_size=image_size, **settings)


def _failure(error: BaseException, work: str) -> RuntimeError:
    kept = "finished runs are kept; start again to go on"
    if isinstance(error, BrokenExecutor):
        return RuntimeError(
            f"a worker process died in {work}; was it killed, is the memory full (take fewer workers or a smaller "
            f"batch), or does a script lack 'if __name__ == \"__main__\":'? {kept}"
        )
    return RuntimeError(f"{work} failed: {type(error).__name__}: {error}; {kept}")


def _start(threads: int, end: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one stops the others
    torch.set_num_threads(threads)
    threading.Thread(target=_watch, args=(end,), daemon=True).start()


def _watch(end: Connection) -> None:
    """Leave at once when the other end is closed: by the process that started this one, or with it."""
    end.poll(None)
    os._exit(1)
