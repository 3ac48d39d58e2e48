"""Write files atomically, in folders that can be written, and read files after checking that they are regular files."""

import json
import math
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

__all__ = ["check_writable", "json_bytes", "read_bytes", "read_json", "require_file", "writable", "write_atomically"]

_LARGEST_JSON = 2**28  # bytes
_DEEPEST = 32
_LARGEST_NUMBER = 2**64


def write_atomically(contents: Mapping[Path, bytes | Iterable[bytes | memoryview]]) -> None:
    """Write files so that a failure or a kill leaves no partial file.

    All contents are on disk before the first file is replaced.

    Args:
        contents: For each file its bytes, or an iterable of pieces of them.

    Raises:
        OSError: If a file cannot be written.
    """
    own = secrets.token_hex(4)  # a process id is not unique: other threads or machines may write the same file
    temporary = {path: path.with_name(f".{path.name}.{own}") for path in contents}
    try:
        for path, content in contents.items():
            with temporary[path].open("wb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)
                file.flush()
                os.fsync(file.fileno())
        for path, written in temporary.items():
            written.replace(path)
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)


def check_writable(folder: str | Path) -> None:
    """Create the folder if necessary and test that files can be written there.

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


def json_bytes(values: object) -> bytes:
    """Return the content of a JSON file for people to read.

    Raises:
        TypeError: If JSON cannot represent a value.
        ValueError: If a number is not finite.
    """
    return (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()


def read_bytes(path: Path, *, largest: int | None = None) -> bytes:
    """Return the contents of a file.

    Args:
        path: The file.
        largest: The largest allowed size in bytes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is a pipe, a device or a folder, which could block forever, or it is too large.
    """
    size = require_file(path)
    if largest is not None and size > largest:
        raise ValueError(f"{path} has {size:,} bytes, expected {largest:,} at most")
    return path.read_bytes()


def require_file(path: Path) -> int:
    """Return the size of a file in bytes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is a pipe, a device or a folder, which could block forever.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a regular file: put the file itself there")
    return status.st_size


def read_json(path: Path) -> Any:
    """Return the JSON values of a file: finite numbers of ordinary size, nested a few levels deep.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds anything else; the error says what, without naming the file.
    """
    text = read_bytes(path, largest=_LARGEST_JSON).decode()
    try:
        values = json.loads(text, parse_constant=_no_number, parse_int=_whole, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"it is nested more than {_DEEPEST} levels deep") from None
    _check_values(values, 0)
    return values


def _check_values(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    if isinstance(value, str):
        value.encode()  # half a surrogate pair is not valid text
    elif isinstance(value, list):
        for entry in value:
            _check_values(entry, depth + 1)
    elif isinstance(value, dict):
        for key, entry in value.items():
            key.encode()
            _check_values(entry, depth + 1)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"it has {text} in the place of a number")


def _whole(text: str) -> int:
    if len(text) > 21 or abs(number := int(text)) > _LARGEST_NUMBER:
        raise ValueError(f"it has the number {text[:20]}..., which is too large")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"it has the number {text[:20]}, which is too large")
    return number
