"""The one syntax for "this, with these options" in arms, models, data sets and recipes: ``name,option=value,...``."""

import ast
from typing import Any

__all__ = ["parse_options"]


def parse_options(text: str) -> tuple[str, dict[str, Any]]:
    """Split ``"name,option=value,..."`` into the name and the options.

    Values are Python literals, ``true`` and ``false`` too, and what is none is a string; commas within brackets do not
    split.

    Raises:
        ValueError: a part that is not ``option=value``, or an option given twice.

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


def _parts(text: str) -> list[str]:
    """Split at commas, but not where the next bracket to the right is a closing one; in one pass, however long."""
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
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the last three of deep brackets
        return text
