"""Worker processes on this machine."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType
from typing import Any

__all__ = ["Processes"]


class Processes(Executor):
    """Run work in worker processes, which are started when first needed.

    If a worker dies, its own work fails with `concurrent.futures.BrokenExecutor`, and a new worker replaces it. (The
    pool of the standard library breaks as a whole.) The workers exit when the executor is shut down, and immediately
    when the ``with`` block ends with an exception or the parent process dies. A script needs ``if __name__ ==
    "__main__":``.

    Args:
        workers: Number of processes.
    """

    def __init__(self, workers: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._end, self._lifeline = self._context.Pipe(duplex=False)  # only this process holds the writing end
        self._threads = ThreadPoolExecutor(workers)
        self._idle: SimpleQueue[ProcessPoolExecutor | None] = SimpleQueue()
        self._workers = workers
        for _ in range(workers):
            self._idle.put(None)

    def submit(self, work: Callable[..., Any], /, *args: Any, **options: Any) -> Future[Any]:
        """Run work in the next free worker."""
        return self._threads.submit(self._run, work, args, options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop the workers once their work is done."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        workers, self._workers = self._workers, 0  # a second call has nothing left to stop
        for _ in range(workers):
            worker = self._idle.get()
            if worker is not None:
                worker.shutdown(wait)
        self._lifeline.close()
        self._end.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._lifeline.close()
        self.shutdown(cancel_futures=True)

    def _run(self, work: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        worker = self._idle.get()
        try:
            if worker is None:
                worker = ProcessPoolExecutor(1, mp_context=self._context, initializer=_start, initargs=(self._end,))
            future = worker.submit(work, *args, **options)
            results: Any = worker._result_queue
            results._writer.close()  # only the worker's end is left: if it dies while it sends, reading ends
            return future.result()
        except BrokenExecutor:
            if worker is not None:
                worker.shutdown()
            worker = None
            raise
        finally:
            self._idle.put(worker)


def _start(end: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the first one stops the others
    threading.Thread(target=_watch, args=(end,), daemon=True).start()


def _watch(end: Connection) -> None:
    """Exit immediately when the other end is closed, or the process that started this one dies."""
    end.poll(None)
    os._exit(1)
