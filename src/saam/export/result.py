"""What an export returns, and how its file is written."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from saam._core.files import writable, write_atomically

__all__ = ["Exported", "new_file", "save", "written"]


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes:
        path: The file.
        size: Its size in bytes.
        difference: Largest absolute difference of the logits from PyTorch's, for images of other numbers and sizes than
            in the export.
        axes: The axes of the images that may have any length: batch, height and width, unless the network fixes them;
            none for weights.
        outputs: Names of the outputs: the logits, then the sites of score maps.
    """

    path: Path
    size: int
    difference: float
    axes: tuple[str, ...]
    outputs: tuple[str, ...]


def save(contents: Mapping[Path, bytes]) -> None:
    """Write files whole.

    Raises:
        OSError: If one cannot be written; the error names the file, or the common folder of several.
    """
    try:
        write_atomically(contents)
    except OSError as error:
        size = sum(map(len, contents.values())) / 1e6
        raise OSError(
            f"cannot write {os.path.commonpath(contents)} ({error.strerror or error}): it takes {size:.1f} MB; free "
            "space there, or choose another place"
        ) from error


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """Check, before a file is made in the block, that there is none yet and that it can be written.

    Raises:
        FileExistsError: If there is a file.
        OSError: If its folder cannot be written.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists: choose another file, or remove it")
    with writable(path.parent):
        yield path


def written(
    path: Path, content: bytes, *, difference: float, axes: Mapping[int, str], outputs: tuple[str, ...]
) -> Exported:
    """Write an exported network whole, and return what it is.

    Raises:
        OSError: If the file cannot be written.
    """
    save({path: content})
    return Exported(path, len(content), difference, tuple(axes.values()), outputs)
