"""The state of a training run: a file that is saved after each epoch, and from which an interrupted run goes on."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from saam._core.files import read_bytes, write_atomically
from saam.training.records import EpochRecord
from saam.training.step import Stepper

__all__ = ["load_state", "save_state", "saved_run"]


def save_state(path: Path, run: Mapping[str, Any], stepper: Stepper, curve: Sequence[EpochRecord]) -> None:
    """Save a run after an epoch; an older state stays whole until the new one is on the disk.

    Args:
        path: The file.
        run: What makes the run the one that it is, in plain values.
        stepper: Network, optimizer and the rest.
        curve: The epochs so far.

    Raises:
        OSError: If the file cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(
        stepper.state_dict() | {"run": dict(run), "curve": [asdict(record) for record in curve]},
        buffer,
    )
    path.parent.mkdir(exist_ok=True)  # another process may have tidied up
    write_atomically({path: buffer.getvalue()})


def load_state(path: Path, run: Mapping[str, Any], stepper: Stepper) -> list[EpochRecord]:
    """Put a run back into its saved state.

    Returns:
        The epochs so far; none if there is no file.

    Raises:
        ValueError: If the file is damaged, is not a regular file, or holds the state of another run.
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
        raise ValueError(f"{path} is damaged: remove it to start anew") from error
    raise ValueError(
        f"{path} holds the state of another run, which differs in {', '.join(sorted(other))}: remove it to start anew, "
        "or choose another place"
    )


def saved_run(path: Path) -> dict[str, Any]:
    """Return what makes the run in a state the one that it is; nothing if there is no file.

    Raises:
        ValueError: The file is damaged, or no regular file.
    """
    if not path.exists():
        return {}
    content = io.BytesIO(read_bytes(path))
    try:
        return dict(torch.load(content, map_location="cpu", weights_only=True)["run"])
    except Exception as error:  # torch and pickle fail in many ways on a file that is not whole
        raise ValueError(f"{path} is damaged: remove it to start anew") from error
