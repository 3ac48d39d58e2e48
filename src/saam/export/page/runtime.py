"""ONNX Runtime for browsers: the npm package onnxruntime-web, in a fixed version that is checked by its hash."""

import base64
import hashlib
import io
import tarfile
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

from saam._core.files import read_bytes, writable
from saam.data import cache_folder
from saam.export.page.registry import registry
from saam.export.result import save

__all__ = ["VERSION", "package_file", "runtime_files"]

VERSION = "1.30.0"
_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
_NAMES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)
_LARGEST = 2**27  # bytes
_SECONDS = 120  # without an answer


def runtime_files() -> dict[str, bytes]:
    """Return the files of onnxruntime-web that a page needs, by name; the package is fetched if it is not in the cache.

    Raises:
        OSError: If the package cannot be fetched, or is not the published one.
    """
    file = package_file()
    package = read_bytes(file, largest=_LARGEST) if file.exists() else _fetched(file)
    if _digest(package) != _SHA512:
        raise OSError(f"{file} is not the published onnxruntime-web {VERSION}: remove it, and it is fetched again")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        members = {name: archive.extractfile(f"package/dist/{name}") for name in _NAMES}
        return {name: member.read() for name, member in members.items() if member is not None}


def package_file() -> Path:
    """Return where the package is kept; ``npm pack`` writes a file of this name, too."""
    return cache_folder() / "npm" / f"onnxruntime-web-{VERSION}.tgz"


def _fetched(file: Path) -> bytes:
    """Fetch the package from the configured registry and keep it in the cache.

    Raises:
        OSError: If that fails, or the package is not the published one.
    """
    todo = f"put the file that `npm pack onnxruntime-web@{VERSION}` writes into {file.parent}"
    try:
        request = registry().request(f"onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz")
    except OSError as error:
        raise OSError(f"{error}: {todo}") from error
    address = request.full_url
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as reply:
            package: bytes = reply.read(_LARGEST)
    except (OSError, ValueError, HTTPException) as error:
        if isinstance(error, HTTPError):  # it holds the reply
            error.close()
        raise OSError(f"cannot fetch {address} ({getattr(error, 'reason', error)}): {todo}") from error
    if _digest(package) != _SHA512:
        raise OSError(f"{address} is not the published onnxruntime-web {VERSION}, its hash differs: {todo}")
    with writable(file.parent):
        save({file: package})
    return package


def _digest(package: bytes) -> str:
    return base64.b64encode(hashlib.sha512(package).digest()).decode()
