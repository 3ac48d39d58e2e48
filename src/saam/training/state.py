"""The state of a training run: a file that is saved after each epoch, from which an interrupted run resumes."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from saam._core.files import read_bytes, write_atomically
from saam.training.records import EpochRecord
from saam.training.step import Stepper

__all__ = ["DamagedStateError", "load_state", "save_state", "saved_run"]


class DamagedStateError(ValueError):
    """A state from which a run cannot go on."""


def save_state(path: Path, run: Mapping[str, Any], stepper: Stepper, curve: Sequence[EpochRecord]) -> None:
    """Save a run after an epoch. An older state stays complete until the new one is on disk.

    Args:
        path: The file.
        run: Plain values that identify the run.
        stepper: Network, optimizer and the rest of the state.
        curve: The records of the epochs so far.

    Raises:
        OSError: If the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(
        stepper.state_dict() | {"run": dict(run), "curve": [asdict(record) for record in curve]},
        buffer,
    )
    path.parent.mkdir(exist_ok=True)  # another process may have removed it
    write_atomically({path: buffer.getvalue()})


def load_state(path: Path, run: Mapping[str, Any], stepper: Stepper) -> list[EpochRecord]:
    """Restore the saved state of a run.

    Returns:
        The records of the epochs so far; none if there is no file.

    Raises:
        DamagedStateError: If the file is damaged, or holds the state of another run.
        ValueError: If it is not a regular file.
    """
    if not path.exists():
        return []
    content = io.BytesIO(read_bytes(path))
    try:
        saved = torch.load(content, map_location="cpu", weights_only=True)
        other = [name for name in run.keys() | saved["run"].keys() if run.get(name) != saved["run"].get(name)]
        if not other:
            stepper.load_state_dict(saved)
            return [EpochRecord(**record) for record in saved["curve"]]
    except Exception as error:  # torch and pickle fail in many ways on a file that is not whole
        raise DamagedStateError(f"{path} is damaged: remove it to start anew") from error
    raise DamagedStateError(
        f"{path} holds the state of another run, which differs in {', '.join(sorted(other))}: remove it to start anew, "
        "or choose another place"
    )


def saved_run(path: Path) -> dict[str, Any]:
    """Return the plain values that identify the run of a state; empty if there is no file.

    Raises:
        ValueError: If the file is damaged, or is not a regular file.
    """
    if not path.exists():
        return {}
    content = io.BytesIO(read_bytes(path))
    try:
        return dict(torch.load(content, map_location="cpu", weights_only=True)["run"])
    except Exception as error:  # torch and pickle fail in many ways on a file that is not whole
        raise ValueError(f"{path} is damaged: remove it to start anew") from error
