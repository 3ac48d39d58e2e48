"""The user's own classes and functions, by a name that other processes can import: ``package.module:Name``."""

import ast
import hashlib
import importlib
import inspect
import re
import sys
from contextlib import suppress
from functools import lru_cache
from types import ModuleType
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
    """Return a hash of the source of the referenced object and of all that it uses in the same file.

    These are the top-level statements that set a name which occurs in it, and what occurs in those. Other files are not
    covered, nor is what stands under the main guard. A file is read once for an object, so edits during a comparison do
    not count.

    Raises:
        ValueError: If it cannot be imported.
    """
    what = resolve(reference)
    module, _, path = reference.partition(":")
    home, name = (what.__module__, what.__qualname__) if hasattr(what, "__qualname__") else (module, path)
    sources: tuple[str, ...] = ()
    with suppress(KeyError, OSError, SyntaxError, TypeError):  # built in, or compiled
        sources = _sources(_text(sys.modules[home], what), name.partition(".")[0])
    return hashlib.sha256("\n".join([reference, *sources]).encode()).hexdigest()[:16]


@lru_cache(maxsize=100)
def _text(module: ModuleType, what: object) -> str:
    """Return the source of a module, as it was when this was first asked for an object, which a reload makes anew."""
    return inspect.getsource(module)


@lru_cache(maxsize=100)
def _sources(text: str, name: str) -> tuple[str, ...]:
    """Return the top-level statements of a module that set a name, or a name that occurs in one of these."""
    statements = [node for node in ast.parse(text).body if not _is_apart(node)]
    wanted, found = {name}, dict[int, str]()
    while more := [i for i, node in enumerate(statements) if i not in found and _set_by(node) & wanted]:
        for i in more:
            found[i] = ast.unparse(statements[i])
            wanted |= {node.id for node in ast.walk(statements[i]) if isinstance(node, ast.Name)}
    return tuple(found[i] for i in sorted(found))


def _is_apart(node: ast.stmt) -> bool:
    """Return whether a statement imports other files, or is the main guard."""
    guard = isinstance(node, ast.If) and any(getattr(part, "id", "") == "__name__" for part in ast.walk(node.test))
    return guard or isinstance(node, ast.Import | ast.ImportFrom)


def _set_by(statement: ast.stmt) -> set[str]:
    """Return the names that a top-level statement defines, assigns, or changes a part of."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    if isinstance(statement, definitions):
        return {statement.name}
    names = set()
    for node in ast.walk(statement):
        if isinstance(node, definitions):
            names.add(node.name)
        elif isinstance(getattr(node, "ctx", None), ast.Store):
            while isinstance(node, ast.Attribute | ast.Subscript):
                node = node.value
            names |= {node.id} if isinstance(node, ast.Name) else set()
    return names
