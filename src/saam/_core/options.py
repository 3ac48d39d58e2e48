"""Options: parse and check ``name,option=value,...``, the syntax of arms, models, data sets and recipes."""

import ast
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from saam._core.errors import no_option

__all__ = ["given", "parse_options", "require_options"]


def parse_options(text: str) -> tuple[str, dict[str, Any]]:
    """Split ``"name,option=value,..."`` into the name and the options.

    Each value is parsed as a Python literal, or as ``true`` or ``false``; anything else is kept as a string. Commas
    inside brackets do not split.

    Raises:
        ValueError: If a part is not ``option=value``, or an option is given twice.

    Example:
        >>> parse_options("resnet8,width=(24,48,96),stem_stride=2")
        ('resnet8', {'width': (24, 48, 96), 'stem_stride': 2})
    """
    name, *parts = (part.strip() for part in _parts(text))
    options: dict[str, Any] = {}
    for part in parts:
        option, _, value = (word.strip() for word in part.partition("="))
        if not option or not value:
            raise ValueError(f"expected 'name,option=value,...', got {part!r:.80} in {text!r:.200}")
        if option in options:
            raise ValueError(f"option {option!r} is given twice in {text!r}")
        options[option] = _literal(value)
    return name, options


def require_options(
    what: str, build: Callable[..., Any], options: Mapping[str, Any], *, but: Collection[str] = ()
) -> None:
    """Check options against the keyword-only parameters of a function, except those in ``but``.

    Raises:
        TypeError: If the function has no such option, or a switch is not a bool.
    """
    parameters = inspect.signature(build).parameters.values()
    known = {one.name: one.annotation for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in but}
    for option, value in options.items():
        if option not in known:
            raise no_option(what, option, known)
        if known[option] in (bool, "bool") and value not in (True, False):
            raise TypeError(f"the option {option!r} of {what} must be True or False, got {value!r}")


def given(**options: Any) -> dict[str, Any]:
    """Return the options that are not None, so that the callee applies its default to the others.

    Example:
        >>> given(heads=None, scorer="channel")
        {'scorer': 'channel'}
    """
    return {option: value for option, value in options.items() if value is not None}


def _parts(text: str) -> list[str]:
    """Split at commas outside brackets, in one pass: a comma is inside if the next bracket to its right closes."""
    parts, end, within = [], len(text), False
    for place in range(len(text) - 1, -1, -1):
        if text[place] in "()[]":
            within = text[place] in ")]"
        elif text[place] == "," and not within:
            parts.append(text[place + 1 : end])
            end = place
    return [text[:end], *reversed(parts)]


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.title() if text in ("true", "false") else text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the last three: deep brackets
        return text
