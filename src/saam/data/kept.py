"""What was found out about data, in the cache folder: ``KIND-KEY.json``, a SHA-256 in hexadecimal and the values.

KEY is a hash of all that the values depend on. A file that does not pass the check counts as absent, and is written
again. Any of these files may be deleted at any time.
"""

import hashlib
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from saam._core.files import read_bytes, write_atomically
from saam.data.cache import cache_folder

__all__ = ["key_of", "read_kept", "write_kept"]


def key_of(*parts: object) -> str:
    """Return a key for what depends on these plain values."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def read_kept(kind: str, key: str) -> dict[str, Any] | None:
    """Return the values; None where there is no such file, or it is damaged."""
    try:
        check, _, text = read_bytes(_file(kind, key)).partition(b"\n")
        if check != _check(text):
            return None
        values: dict[str, Any] = json.loads(text)
    except (OSError, ValueError):
        return None
    return values


def write_kept(kind: str, key: str, values: dict[str, Any]) -> None:
    """Keep values for :func:`read_kept`; a folder that cannot be written keeps nothing."""
    file, text = _file(kind, key), json.dumps(values).encode()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically({file: [_check(text), b"\n", text]})


def _check(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def _file(kind: str, key: str) -> Path:
    return cache_folder() / f"{kind}-{key}.json"
