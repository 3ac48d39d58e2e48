"""Checkpoints: a folder with the weights of a model, the configuration to rebuild it, and its training history.

model.safetensors   weights and buffers
config.json         whatever the caller needs to build the model
curves.json         one record an epoch
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from saam._core.files import json_bytes, write_atomically
from saam._core.weights import stored
from saam.training.records import EpochRecord

__all__ = ["save_checkpoint"]

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
