"""Wording shared by errors: of names, what is known and probably meant; of foreign text, what can be printed."""

from collections.abc import Iterable
from difflib import get_close_matches
from unicodedata import category

__all__ = ["nearest", "printable", "unknown"]

_OBEYED = ("Cc", "Cs", "Zl", "Zp")  # control characters, half surrogate pairs, separators of lines and paragraphs


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``"did you mean 'eca' or 'se'? "``, or nothing where no name is near."""
    matches = get_close_matches(name.lower(), list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(repr(match) for match in matches)}? " if matches else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Return the error for a name that no registry entry has: the nearest names, then the whole list."""
    known = list(known)
    return ValueError(f"unknown {kind} {name!r}: {nearest(name, known)}known: {', '.join(known)}")


def printable(text: str) -> str:
    """Return a text in which what a terminal would obey, such as an escape sequence, is spelled out."""
    return "".join(ascii(letter)[1:-1] if category(letter) in _OBEYED else letter for letter in text)
