"""Default folders for results, named after what is compared or trained."""

import hashlib
import json
from pathlib import Path
from typing import Any

__all__ = ["default_out", "newest"]


def default_out(data: str, model: str, settings: Any) -> Path:
    """Return a folder for results that depends on the settings.

    Args:
        data: Name or path of the data set.
        model: Name of the network.
        settings: All settings that need a separate folder, as plain values.
    """
    digits = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:4]
    data = Path(data).resolve().name if data in (".", "..") else Path(data).name
    return Path("-".join(["saam", data, Path(model.rpartition(":")[2]).name, digits]))


def newest(*files: str) -> Path:
    """Return the folder in the current one that saam wrote last.

    Args:
        files: A result folder contains one of these.

    Raises:
        FileNotFoundError: If there is none.
    """
    found = [file for name in files for file in Path().glob(f"*/{name}")]
    if not found:
        raise FileNotFoundError("no results in this folder: name the folder that saam compare or saam train wrote")
    return max(found, key=lambda file: file.stat().st_mtime).parent
