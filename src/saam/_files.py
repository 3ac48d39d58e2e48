"""Files that are written whole or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(contents: Mapping[Path, bytes]) -> None:
    """Write files so that a failure or a kill leaves each as it was: all are on the disk before the first is replaced.

    Raises:
        OSError: A file cannot be written.
    """
    temporary = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in contents}
    try:
        for path, content in contents.items():
            with temporary[path].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, written in temporary.items():
            written.replace(path)
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)
