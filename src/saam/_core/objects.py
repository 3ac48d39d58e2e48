"""The user's own classes and functions, by a name that other processes can import: ``package.module:Name``."""

import hashlib
import importlib
import inspect
import re
import sys
from typing import Any

__all__ = ["is_reference", "reference_to", "resolve", "source_hash"]

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_LIBRARIES = ("timm", "torchvision")  # a colon after these is followed by one of their own names


def is_reference(text: str) -> bool:
    """Return whether a name has the form ``package.module:Name`` and is not a timm or torchvision name.

    >>> is_reference("my.nets:Net"), is_reference("timm:gca"), is_reference("se")
    (True, False, False)
    """
    return _REFERENCE.fullmatch(text) is not None and text.partition(":")[0] not in _LIBRARIES


def resolve(reference: str) -> Any:
    """Import the object that ``package.module:Name`` names.

    Raises:
        ValueError: If there is no such module, or it has no such name.
    """
    name, _, path = reference.partition(":")
    try:
        found: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if name.endswith(".py"):
            raise ValueError(
                f"cannot import {reference!r}: name the module, not its file, as in {name[:-3]}:{path}"
            ) from error
        raise ValueError(
            f"cannot import {reference!r} ({error}): run in the folder of the module, or install it; in Python define "
            "it in a file that is imported, not in a notebook"
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            main = "; a worker of this kind does not run your script, so define it in a file that the script imports"
            raise ValueError(f"cannot import {reference!r}: {name} has no {path}{main if name == '__main__' else ''}")
        found = getattr(found, part)
    return found


def reference_to(what: Any) -> str:
    """Return the ``package.module:Name`` of a class or function.

    Raises:
        ValueError: If other processes cannot import it: a lambda, or something defined in a function or a notebook.
    """
    module, name = getattr(what, "__module__", None), getattr(what, "__qualname__", "")
    in_file = module != "__main__" or hasattr(sys.modules["__main__"], "__file__")
    if not module or not in_file or not is_reference(f"{module}:{name}") or resolve(f"{module}:{name}") is not what:
        raise ValueError(
            f"worker processes cannot import {what!r:.200}: define it as a class or function at the top of a file, not "
            "in a function, a lambda or a notebook"
        )
    return f"{module}:{name}"


def source_hash(reference: str) -> str:
    """Return a hash of the source of the referenced object. It does not cover what the object uses.

    Raises:
        ValueError: If it cannot be imported.
    """
    what = resolve(reference)
    try:
        source = inspect.getsource(what)
    except (OSError, TypeError):  # built in, or compiled
        source = reference
    return hashlib.sha256(source.encode()).hexdigest()[:16]
