"""Checkpoints: a folder with the weights of a model, the configuration to rebuild it, and its training history.

model.safetensors   weights and buffers
config.json         whatever the caller needs to build the model
curves.json         one record an epoch
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from saam._core.files import json_bytes, write_atomically
from saam._core.weights import stored
from saam.training.records import EpochRecord

__all__ = ["check_writable", "save_checkpoint", "writable"]

_WEIGHTS, _CONFIG, _CURVES = "model.safetensors", "config.json", "curves.json"


def save_checkpoint(
    folder: str | Path, model: nn.Module, config: Mapping[str, Any], curve: Sequence[EpochRecord] = ()
) -> Path:
    """Save a model. An older checkpoint in the folder stays complete until the new one is on disk.

    Returns:
        The folder.

    Raises:
        TypeError: If JSON cannot represent the config.
        ValueError: If a number of config or curve is not finite.
        OSError: If the folder cannot be written.
    """
    from safetensors.torch import save

    folder = Path(folder)
    contents = {
        _WEIGHTS: save(stored(model.state_dict()), metadata={"format": "pt"}),
        _CONFIG: json_bytes(config),
        _CURVES: json_bytes([asdict(record) for record in curve]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically({folder / name: content for name, content in contents.items()})
    return folder


def check_writable(folder: str | Path) -> None:
    """Create the folder if necessary and test that files can be written there, before training starts.

    Raises:
        OSError: If the files cannot be written.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"cannot write to {folder} ({error.strerror}): choose another folder or free this one") from error


@contextmanager
def writable(folder: str | Path) -> Iterator[None]:
    """Check a folder as `check_writable` does, and remove it at the end if it was created here and is empty."""
    made = [path for path in (Path(folder), *Path(folder).parents) if not path.exists()]
    try:
        check_writable(folder)
        yield
    finally:
        with suppress(OSError):  # keep folders that are not empty
            for path in made:
                path.rmdir()
