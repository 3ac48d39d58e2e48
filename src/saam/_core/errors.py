"""Wording shared by errors: known and similar names, and text that is safe to print."""

from collections.abc import Iterable
from difflib import get_close_matches
from unicodedata import category

__all__ = ["hinted", "nearest", "no_option", "one_line", "printable", "unknown"]

_OBEYED = ("Cc", "Cs", "Zl", "Zp")  # control characters, half surrogate pairs, separators of lines and paragraphs


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``"did you mean 'eca' or 'se'? "``, or an empty string if no name is similar."""
    matches = get_close_matches(name.lower(), list(known), n=3, cutoff=0.6)
    return f"did you mean {' or '.join(repr(match) for match in matches)}? " if matches else ""


def hinted(lead: str, name: str, known: Iterable[str], listed: str = "") -> str:
    """Return the text of an error about a name: the lead, similar names, then the known ones.

    Args:
        lead: What is wrong.
        name: The name as given.
        known: The known names.
        listed: Text that replaces the list of known names, if not empty.
    """
    known = list(known)
    return f"{lead}: {nearest(name, known)}{listed or 'known: ' + ', '.join(known)}"


def unknown(kind: str, name: str, known: Iterable[str]) -> ValueError:
    """Return the error for a name that is not in a registry."""
    return ValueError(hinted(f"unknown {kind} {name!r}", name, known))


def no_option(what: str, option: str, known: Iterable[str], listed: str = "") -> TypeError:
    """Return the error for an option that ``what`` does not have; ``listed`` replaces the list of known options."""
    known = list(known)
    takes = f"it takes {listed or ', '.join(known)}"
    return TypeError(hinted(f"{what} has no option {option!r}", option, known, takes))


def printable(text: str) -> str:
    """Return the text with everything escaped that a terminal would execute, such as escape sequences."""
    return "".join(ascii(letter)[1:-1] if category(letter) in _OBEYED else letter for letter in text)


def one_line(error: object, *, most: int = 300) -> str:
    """Return the message of another library's error in one line of at most so many letters."""
    text = " ".join(str(error).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."
