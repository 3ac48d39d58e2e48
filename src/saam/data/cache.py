"""The cache folder for downloaded and generated data: one per user."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

__all__ = ["cache_folder", "downloads_allowed", "no_downloads"]

_ALLOWED: ContextVar[bool] = ContextVar("saam_downloads", default=True)


def cache_folder() -> Path:
    """Return $SAAM_CACHE, or the folder ``saam`` in the platform's cache folder; it need not exist."""
    if own := os.environ.get("SAAM_CACHE"):
        return Path(own).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "saam"


@contextmanager
def no_downloads() -> Iterator[None]:
    """Forbid downloads within this block."""
    token = _ALLOWED.set(False)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def downloads_allowed() -> bool:
    """Return whether a loader may download, which :func:`no_downloads` forbids."""
    return _ALLOWED.get()
