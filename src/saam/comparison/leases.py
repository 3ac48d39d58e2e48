"""Leases: several drivers, possibly on several machines, share one folder without doing a job twice.

A lease is a file ``<job>.<n>`` that only one process can create. The lease with the highest n is valid. Its holder
touches the file every few seconds. A process that has seen it unchanged for a long time creates the next n, which again
only one process can do. Clocks of different machines are never compared. If the holder ran on this machine and has
died, the lease is taken over without waiting.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Leases"]

_BEAT = 5.0  # seconds between two touches
_STALE = 60.0  # seconds without a touch after which a holder counts as dead


class Leases:
    """The leases of this process on the jobs in a folder, for use in a ``with`` block.

    Args:
        folder: Folder of the files, created if necessary.
        beat: Seconds between two touches.
        stale: Seconds without a touch after which a holder counts as dead.
    """

    def __init__(self, folder: Path, *, beat: float = _BEAT, stale: float = _STALE) -> None:
        self._folder, self._beat, self._stale = folder, beat, stale
        self._held: dict[str, Path] = {}
        self._seen: dict[Path, tuple[int, float]] = {}  # lease -> its modification time, and when this was first seen
        self._lock, self._end = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._touch, daemon=True)

    def take(self, job: str) -> bool:
        """Take the lease on a job, unless a living holder has it.

        Raises:
            OSError: If the folder cannot be written.
        """
        if job in self._held:
            return True
        taken = sorted(self._taken(job))
        if taken and self._lives(taken[-1][1]):
            return False
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"{job}.{taken[-1][0] + 1 if taken else 1}"
        try:
            with path.open("x") as file:
                json.dump(_process(), file)
        except (FileExistsError, FileNotFoundError):  # another process was faster, or removed the empty folder
            return False
        with self._lock:
            self._held[job] = path
        if not self.holds(job):  # others took over the lease in the meantime
            self.release(job)
            return False
        for _, old in taken:
            old.unlink(missing_ok=True)
        return True

    def holds(self, job: str) -> bool:
        """Return whether this process still has the lease; it may have lost it while it was suspended."""
        return job in self._held and max(self._taken(job), default=(0, None))[1] == self._held[job]

    def release(self, job: str) -> None:
        """Release a lease."""
        with self._lock:
            path = self._held.pop(job, None)
        if path is not None:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        for job in list(self._held):
            self.release(job)
        with suppress(OSError):  # other drivers may have leases in it
            self._folder.rmdir()

    def _taken(self, job: str) -> Iterator[tuple[int, Path]]:
        """Yield the number and file of each lease on a job."""
        for path in self._folder.glob(f"{job}.*"):
            number = path.suffix[1:]
            if number.isdecimal():
                yield int(number), path

    def _lives(self, path: Path) -> bool:
        try:
            changed = path.lstat().st_mtime_ns
        except FileNotFoundError:  # just released
            return False
        holder = _holder(path)
        if (boot := _boot()) and (holder.get("host"), holder.get("boot")) == (socket.gethostname(), boot):
            started = _started(holder.get("pid"))
            return started is not None and started == holder.get("started")
        known, since = self._seen.get(path, (None, 0.0))
        if known != changed:
            self._seen[path] = changed, time.monotonic()
            return True
        return time.monotonic() - since < self._stale

    def _touch(self) -> None:
        while not self._end.wait(self._beat):
            with self._lock:
                held = list(self._held.values())
            for path in held:
                with suppress(OSError):
                    os.utime(path)


def _process() -> dict[str, Any]:
    return {"host": socket.gethostname(), "boot": _boot(), "pid": os.getpid(), "started": _started(os.getpid())}


def _boot() -> str:
    """Return an identifier of this boot of this machine and of this container; empty if there is none."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.stat('/proc/self/ns/pid').st_ino}"
    return ""


def _started(pid: Any) -> str | None:
    """Return the start time of a process of this machine; None if it does not exist, is dead, or cannot be queried."""
    if not isinstance(pid, int):
        return None
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]  # a dead process stays listed until its parent reads its exit code
    except (OSError, LookupError, ValueError):
        return None


def _holder(path: Path) -> dict[str, Any]:
    """Return who holds a lease; nothing for a file that is damaged, whose touches alone count then."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
