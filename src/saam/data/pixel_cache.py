"""Decoded images in the cache folder: decoded once per machine, and mapped by every process that reads them.

``decoded-KEY.bin`` holds the pixels, then height and width (8 bytes each) and a SHA-256 of both. KEY is a hash of the
encoded images in their order, and of everything else that the pixels depend on. A file that fails the check is
rewritten. All these files may be deleted at any time.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import PIL
import torch
from torch import Tensor

from saam._core.files import require_file, write_atomically
from saam.data.cache import cache_folder
from saam.data.image_files import DECODING

__all__ = ["pixels_key", "read_pixels", "write_pixels"]

_VERSION = 1  # of the file's layout
_SHAPE, _CHECK = 16, 32  # bytes


def pixels_key(hashes: Sequence[bytes], size: int | None) -> str:
    """Return the key of decoded images.

    Args:
        hashes: SHA-256 of each of the N encoded images.
        size: Argument of :func:`saam.data.encoded.decode`.
    """
    sha = hashlib.sha256(repr((_VERSION, DECODING, PIL.__version__, size)).encode())
    for content in hashes:
        sha.update(content)
    return sha.hexdigest()[:32]


def read_pixels(key: str, count: int) -> Tensor | None:
    """Return decoded images, mapped into memory. Processes share the pages of the file until they write to them.

    Args:
        key: Key of the images.
        count: N.

    Returns:
        uint8 (N, 3, H, W); None if there is no such file, or it is damaged.
    """
    file = _file(key)
    try:
        require_file(file)
        content = np.memmap(file, np.uint8, "c")  # no write reaches the file
    except (OSError, ValueError):  # also for an empty file
        return None
    end = max(0, len(content) - _SHAPE - _CHECK)
    pixels, shape, check = content[:end], content[end:-_CHECK].tobytes(), content[-_CHECK:].tobytes()
    if check != _digest(pixels.data, shape):
        return None
    height, width = (int(side) for side in np.frombuffer(shape, "<i8"))
    return torch.from_numpy(pixels).view(count, 3, height, width)


def write_pixels(key: str, pixels: Tensor) -> None:
    """Store decoded images (N, 3, H, W) for :func:`read_pixels`; do nothing if the folder is not writable."""
    file, content = _file(key), pixels.contiguous().numpy().data.cast("B")
    shape = np.array(pixels.shape[2:], "<i8").tobytes()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically({file: [content, shape, _digest(content, shape)]})


def _digest(pixels: memoryview, shape: bytes) -> bytes:
    sha = hashlib.sha256(pixels)
    sha.update(shape)
    return sha.digest()


def _file(key: str) -> Path:
    return cache_folder() / f"decoded-{key}.bin"
