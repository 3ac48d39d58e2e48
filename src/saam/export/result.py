"""What an export returns, and how its file is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from saam._core.files import write_atomically
from saam.training import writable

__all__ = ["Exported", "require_new", "write_new"]


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


def require_new(path: str | Path) -> Path:
    """Return a path at which there is no file yet.

    Raises:
        FileExistsError: If there is one.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists: choose another file, or remove it")
    return path


def write_new(
    path: Path, content: bytes, *, difference: float, axes: Mapping[int, str], outputs: tuple[str, ...]
) -> Exported:
    """Write an exported network whole, in a folder that is made if necessary.

    Raises:
        OSError: If the file cannot be written.
    """
    with writable(path.parent):
        write_atomically({require_new(path): content})
    return Exported(path, len(content), difference, tuple(axes.values()), outputs)
