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
    """Runs work as tasks of a Ray cluster, which may span many machines.

    A worker or a machine that dies fails its own work with `concurrent.futures.BrokenExecutor`. Ray itself retries
    nothing. The workers import saam and your own modules, so every machine needs the same code. Ray's dashboard and its
    usage statistics stay off.

    Args:
        address: Of the cluster, as `ray.init` takes it. None joins the cluster that ``RAY_ADDRESS`` names or that runs
            on this machine, and starts one on this machine where there is none. A program that has called `ray.init`
            stays connected as it is.
        threads: Processors that each job takes.
        gpus: GPUs that each job takes; 0.5 lets two jobs share one. None: one where the cluster has any, otherwise 0.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: Fewer than one thread, or a negative number of GPUs.
        ConnectionError: There is no cluster at the address.
    """

    def __init__(self, address: str | None = None, *, threads: int = 1, gpus: float | None = None) -> None:
        if threads < 1 or (gpus is not None and gpus < 0):
            raise ValueError(f"expected threads of 1 or more and gpus of 0 or more, got {threads=} and {gpus=}")
        try:
            import ray
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("RayExecutor needs ray: pip install 'saam[cluster]'", name="ray") from error
        self._ray = ray
        self._connected = not ray.is_initialized()  # by this object, which then disconnects
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
        """How many jobs the machines that are in the cluster now can run side by side; at least 1."""
        there = self._ray.cluster_resources()
        fit = [there.get("CPU", 0.0) / self._threads]
        if self._gpus:
            fit.append(there.get("GPU", 0.0) / self._gpus)
        return max(1, int(min(fit)))

    def submit(self, work: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Have work done by a worker of the cluster; to cancel the future stops the work."""
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
        """Disconnect once the work is done, and end a cluster that was started here."""
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
    """Hand on what came of a task: its result, its own error, or that whoever did it died."""
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
    """Have Ray send none: what `ray.init` starts takes this from the environment."""
    before = os.environ.get("RAY_USAGE_STATS_ENABLED")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["RAY_USAGE_STATS_ENABLED"]
        else:
            os.environ["RAY_USAGE_STATS_ENABLED"] = before
