"""Plain values: the only option values that saam accepts from a file, because anybody can have written the file.

Plain values are true, false, null, finite numbers of a bounded size, short words that are not a path or an address, and
flat lists of these.
"""

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

__all__ = ["LARGEST", "plain_options", "require_word"]

LARGEST = 65_536
"""The largest whole number among options, such as a width, a size or a number of classes."""

_WORD = re.compile(r"(?:[A-Za-z0-9_+:,=-]|(?<=[0-9])\.(?=[0-9])){0,80}")
_LONGEST_LIST = 100


def plain_options(
    what: str, options: Any, allowed: Collection[str] | None = None, *, largest: int = LARGEST
) -> dict[str, Any]:
    """Return the options given in a file, after checking their names and values.

    Args:
        what: The owner of the options, for the error message.
        options: The options as read.
        allowed: The names that a file may set; None leaves this check to the receiver of the options.
        largest: The largest allowed whole number.

    Raises:
        ValueError: If they are not a mapping, or a name or value is not allowed.
    """
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise ValueError(f"the options of {what} must be an object of names and values, got {_short(options)}")
    for name, value in options.items():
        if allowed is not None and name not in allowed:
            raise ValueError(
                f"the option {_short(name)} of {what} is not taken from a file, which may set "
                f"{', '.join(sorted(allowed))}"
            )
        if not _plain(value, largest):
            raise ValueError(
                f"the option {_short(name)} of {what} is {_short(value)}: a file may give numbers up to {largest}, "
                "words that name no file or address, true, false, null, and flat lists of these"
            )
    return dict(options)


def require_word(what: str, value: Any, pattern: str = r"[A-Za-z0-9_+:.-]{1,80}") -> str:
    """Return a name given in a file, after checking it.

    Raises:
        ValueError: If the value is not a text of this pattern.
    """
    if not isinstance(value, str) or not re.fullmatch(pattern, value):
        raise ValueError(f"expected a name as {what}, got {_short(value)}")
    return value


def _plain(value: Any, largest: int) -> bool:
    if isinstance(value, list | tuple):
        return len(value) <= _LONGEST_LIST and all(
            not isinstance(entry, list | tuple) and _plain(entry, largest) for entry in value
        )
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, int):
        return abs(value) <= largest
    if isinstance(value, float):
        return math.isfinite(value) and abs(value) <= largest
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _short(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
