"""The user's own classes and functions, by a name that other processes can import: ``package.module:Name``."""

import ast
import hashlib
import importlib
import inspect
import re
import sys
from contextlib import suppress
from functools import lru_cache
from typing import Any

__all__ = ["is_reference", "reference_to", "resolve", "source_hash"]

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.AugAssign)
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

    These are the functions, classes and top-level assignments whose names occur in it, and what occurs in those. Other
    files are not covered.

    Raises:
        ValueError: If it cannot be imported.
    """
    what = resolve(reference)
    module, _, path = reference.partition(":")
    home, name = (what.__module__, what.__qualname__) if hasattr(what, "__qualname__") else (module, path)
    sources = [reference]
    with suppress(OSError, TypeError):  # built in, or compiled
        sources.append(inspect.getsource(what))
    with suppress(KeyError, OSError, SyntaxError, TypeError):
        sources += _sources(inspect.getsource(sys.modules[home]), name.partition(".")[0])
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def _sources(text: str, name: str) -> tuple[str, ...]:
    """Return the top-level statements of a module that define a name, or a name that occurs in one of them."""
    lines, found = text.splitlines(), dict[int, str]()
    statements = [node for node in ast.parse(text).body if isinstance(node, _DEFINITIONS)]
    wanted, seen = [name], set[str]()
    while wanted:
        if (name := wanted.pop()) in seen:
            continue
        seen.add(name)
        for statement in statements:
            if name in _names(statement, ast.Store):
                start = min(node.lineno for node in (statement, *getattr(statement, "decorator_list", ())))
                found[start] = "\n".join(lines[start - 1 : statement.end_lineno])
                wanted += _names(statement, ast.Load)
    return tuple(found[start] for start in sorted(found))


def _names(statement: ast.stmt, use: type[ast.expr_context]) -> set[str]:
    """Return the names that a top-level statement defines (Store), or reads from outside (Load)."""
    if use is ast.Store and isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    if use is ast.Store:
        return stored
    inner = stored | {node.arg for node in ast.walk(statement) if isinstance(node, ast.arg)}
    return {node.id for node in names if isinstance(node.ctx, ast.Load)} - inner
