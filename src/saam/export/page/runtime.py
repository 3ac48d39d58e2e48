"""ONNX Runtime for browsers: the npm package onnxruntime-web, in a fixed version that is checked by its hash."""

import base64
import hashlib
import io
import os
import tarfile
import urllib.request
from pathlib import Path

from saam._core.files import read_bytes, write_atomically
from saam.data import cache_folder

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
_REGISTRY = "https://registry.npmjs.org/"
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
    address = f"{_registry().rstrip('/')}/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
    todo = f"put the file that `npm pack onnxruntime-web@{VERSION}` writes into {file.parent}"
    if not address.startswith(("https://", "http://")):
        raise OSError(f"the npm registry must be an https address, got {address}: {todo}")
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as reply:
            package: bytes = reply.read(_LARGEST)
    except (OSError, ValueError) as error:
        raise OSError(f"cannot fetch {address} ({getattr(error, 'reason', error)}): {todo}") from error
    if _digest(package) != _SHA512:
        raise OSError(f"{address} is not the published onnxruntime-web {VERSION}, its hash differs: {todo}")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically({file: package})
    return package


def _digest(package: bytes) -> str:
    return base64.b64encode(hashlib.sha512(package).digest()).decode()


def _registry() -> str:
    """Return the registry that npm would use: from the environment, else from .npmrc here or of the user."""
    for name, value in os.environ.items():
        if name.lower() == "npm_config_registry" and value:
            return value
    for file in (Path(".npmrc"), Path.home() / ".npmrc"):
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
            key, _, value = line.partition("=")
            if key.strip() == "registry" and value.strip():
                return value.strip()
    return _REGISTRY
