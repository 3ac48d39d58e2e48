"""Wording shared by errors: of names, what is known and probably meant; of foreign text, what can be printed."""

from collections.abc import Iterable
from difflib import get_close_matches
from unicodedata import category

__all__ = ["hinted", "nearest", "no_option", "printable", "unknown"]

_OBEYED = ("Cc", "Cs", "Zl", "Zp")  # control characters, half surrogate pairs, separators of lines and paragraphs


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``"did you mean 'eca' or 'se'? "``, or nothing where no name is near."""
    matches = get_close_matches(name.lower(), list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(repr(match) for match in matches)}? " if matches else ""


def hinted(lead: str, name: str, known: Iterable[str], listed: str = "") -> str:
    """Return the text of an error about a name: the lead, the nearest names, then what there is.

    Args:
        lead: What is wrong.
        name: As it was given.
        known: The names that there are.
        listed: Says what there is; empty lists the names.
    """
    known = list(known)
    return f"{lead}: {nearest(name, known)}{listed or 'known: ' + ', '.join(known)}"


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Return the error for a name that no registry entry has."""
    return ValueError(hinted(f"unknown {kind} {name!r}", name, known))


def no_option(what: str, option: str, known: Iterable[str], listed: str = "") -> TypeError:
    """Return the error for an option that ``what`` does not have; ``listed`` spells the known ones out."""
    known = list(known)
    takes = f"it takes {listed or ', '.join(known)}"
    return TypeError(hinted(f"{what} has no option {option!r}", option, known, takes))


def printable(text: str) -> str:
    """Return a text in which what a terminal would obey, such as an escape sequence, is spelled out."""
    return "".join(ascii(letter)[1:-1] if category(letter) in _OBEYED else letter for letter in text)
