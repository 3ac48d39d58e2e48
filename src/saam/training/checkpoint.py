"""Checkpoints: a folder with the weights of a model, the configuration to rebuild it, and its training history.

model.safetensors   weights and buffers
config.json         whatever the caller needs to build the model
curves.json         one record an epoch
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from saam._core.files import read_bytes, read_json, write_atomically
from saam._core.weights import stored
from saam.training.records import EpochRecord

__all__ = ["Checkpoint", "check_writable", "load_checkpoint", "save_checkpoint", "writable"]

_WEIGHTS, _CONFIG, _CURVES = "model.safetensors", "config.json", "curves.json"


@dataclass(frozen=True)
class Checkpoint:
    """Contents of a checkpoint.

    Args:
        weights: State dict of the model, on the CPU.
        config: The saved configuration.
        curve: One record per epoch.
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]
    curve: tuple[EpochRecord, ...]


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
        _CONFIG: _json(config),
        _CURVES: _json([asdict(record) for record in curve]),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically({folder / name: content for name, content in contents.items()})
    return folder


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Load a checkpoint written by `save_checkpoint`.

    Raises:
        FileNotFoundError: If the folder has no checkpoint, or an incomplete one.
        ValueError: If a file of the checkpoint is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = Path(folder)
    for name in (_WEIGHTS, _CONFIG, _CURVES):
        if not (folder / name).exists():
            raise FileNotFoundError(f"no checkpoint in {folder}: {name} is missing; pass a folder that training wrote")
    try:
        config = read_json(folder / _CONFIG)
        if not isinstance(config, dict):
            raise ValueError(f"{_CONFIG} does not hold an object")
        curve = tuple(_epoch(record) for record in read_json(folder / _CURVES))
        return Checkpoint(load(read_bytes(folder / _WEIGHTS)), config, curve)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"the checkpoint in {folder} is damaged ({error}): train again or restore it") from error


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


def _epoch(values: Any) -> EpochRecord:
    """Return the record of an epoch after checking its fields.

    Raises:
        TypeError: If it is not an object, or a field is missing or unknown.
        ValueError: If a field has the wrong type.
    """
    record = EpochRecord(**values)
    for name, value in asdict(record).items():
        kind = {"epoch": int, "observed": dict}.get(name, int | float)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ValueError(f"the {name} of an epoch is {value!r:.80}")
    return record


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()
