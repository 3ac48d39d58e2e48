"""Numbers on the command line."""

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, validators

__all__ = ["Count", "Whole"]


def _whole(kind: Any, tokens: Sequence[Any]) -> int:
    """Read a whole number; 2.7 is none, which cyclopts would round.

    Raises:
        ValueError: it is no whole number, or one of more digits than anything here can have.
    """
    text = tokens[0].value.strip()
    digits = text.removeprefix("-").removeprefix("+")
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 19:
        raise ValueError(f"expected a whole number, got {text[:40]!r}")
    return int(text)


Whole = Annotated[int, Parameter(converter=_whole)]
Count = Annotated[int, Parameter(converter=_whole, validator=validators.Number(gte=1))]
