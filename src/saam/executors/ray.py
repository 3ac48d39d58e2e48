"""Workers on a Ray cluster."""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any

__all__ = ["RayExecutor"]


class RayExecutor(Executor):
    """Run work as tasks of a Ray cluster, which may span many machines.

    If a worker or a machine dies, its own work fails with `concurrent.futures.BrokenExecutor`. Ray itself does not
    retry. The workers import saam and your own modules, so every machine needs the same code. Ray's dashboard and its
    usage statistics are off.

    Args:
        address: Address of the cluster for `ray.init`. None joins the cluster that ``RAY_ADDRESS`` names or that runs
            on this machine, or else starts one on this machine. A program that has called `ray.init` keeps its
            connection.
        threads: Number of processors for each job.
        gpus: Number of GPUs for each job; 0.5 lets two jobs share one. None means one if the cluster has GPUs,
            otherwise 0.

    Raises:
        ModuleNotFoundError: If Ray is not installed.
        ValueError: If there is less than one thread, or a negative number of GPUs.
        ConnectionError: If there is no cluster at the address.
    """

    def __init__(self, address: str | None = None, *, threads: int = 1, gpus: float | None = None) -> None:
        if threads < 1 or (gpus is not None and gpus < 0):
            raise ValueError(f"expected threads of 1 or more and gpus of 0 or more, got {threads=} and {gpus=}")
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("RayExecutor needs ray: pip install 'saam[cluster]'", name="ray") from error
        self._ray = ray
        self._connected = not ray.is_initialized()  # whether this object connected and must disconnect
        if self._connected:
            with _no_usage_statistics():
                ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
        self._threads = threads
        self._gpus = gpus if gpus is not None else min(1.0, ray.cluster_resources().get("GPU", 0.0))
        self._remote = ray.remote(num_cpus=threads, num_gpus=self._gpus, max_retries=0)(_call)
        self._pending: set[Future[Any]] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def workers(self) -> int:
        """Number of jobs that the current machines of the cluster can run in parallel; at least 1."""
        there = self._ray.cluster_resources()
        fit = [there.get("CPU", 0.0) / self._threads]
        if self._gpus:
            fit.append(there.get("GPU", 0.0) / self._gpus)
        return max(1, int(min(fit)))

    def submit(self, work: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Run work in a worker of the cluster. Cancelling the future stops the work."""
        if self._closed:
            raise RuntimeError("cannot submit work after shutdown")
        future: Future[Any] = Future()
        reference = self._remote.remote(work, args, options)
        with self._lock:
            self._pending.add(future)
        future.add_done_callback(partial(self._forget, reference))
        reference.future().add_done_callback(partial(_settle, future))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Disconnect once the work is done, and stop a cluster that was started here."""
        self._closed = True
        with self._lock:
            pending = list(self._pending)
        if cancel_futures:
            for future in pending:
                future.cancel()
        if wait:
            _wait(pending)
            if self._connected:
                self._ray.shutdown()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(cancel_futures=kind is not None)

    def _forget(self, reference: Any, future: Future[Any]) -> None:
        with self._lock:
            self._pending.discard(future)
        if future.cancelled():
            self._ray.cancel(reference, force=True)


def _call(work: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return work(*args, **options)


def _settle(future: Future[Any], done: Future[Any]) -> None:
    """Pass on the outcome of a task: its result, its own error, or the death of its worker."""
    from ray.exceptions import RayError, RayTaskError, UnserializableException

    if not future.set_running_or_notify_cancel():
        return
    error = done.exception()
    if error is None:
        future.set_result(done.result())
    elif isinstance(error, RayTaskError) and isinstance(error.cause, BaseException):
        future.set_exception(error.cause)
    elif isinstance(error, RayError) and not isinstance(error, RayTaskError | UnserializableException):
        broken = BrokenExecutor(f"{type(error).__name__}: {' '.join(str(error).split())}")
        broken.__cause__ = error
        future.set_exception(broken)
    else:
        future.set_exception(error)


def _wait(futures: list[Future[Any]]) -> None:
    wait([future for future in futures if not future.cancelled()])


@contextmanager
def _no_usage_statistics() -> Iterator[None]:
    """Disable Ray's usage statistics through the environment, which the processes started by `ray.init` inherit."""
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["RAY_USAGE_STATS_ENABLED"]
        else:
            os.environ["RAY_USAGE_STATS_ENABLED"] = before
