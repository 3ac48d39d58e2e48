"""Numbers on the command line."""

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter, validators

from saam._core.devices import best_device

__all__ = ["Count", "Seed", "Whole", "seconds", "slots"]


def _whole(kind: Any, tokens: Sequence[Any]) -> int:
    """Read a whole number. Cyclopts would round 2.7; this refuses it.

    Raises:
        ValueError: If it is not a whole number, or has too many digits.
    """
    text = tokens[0].value.strip()
    digits = text.removeprefix("-").removeprefix("+")
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 19:
        raise ValueError(f"expected a whole number, got {text[:40]!r}")
    return int(text)


def seconds(text: str) -> float:
    """Read a time such as "90s", "45m" or "2h".

    Raises:
        ValueError: If the text is not a time.

    >>> seconds("1.5h")
    5400.0
    """
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = text.strip()[:-1], text.strip()[-1:]
    try:
        value = float(number) * units[unit]
    except (KeyError, ValueError):
        raise ValueError(f"expected a time such as 90s, 45m, 2h or 1d, got {text[:40]!r}") from None
    if not 0 < value < float("inf"):
        raise ValueError(f"expected a time above 0, got {text[:40]!r}")
    return value


def slots(devices: Sequence[str], jobs_per_device: int) -> list[str] | None:
    """Return the device of each run at a time; None leaves both to the driver."""
    named = list(devices) or ([str(best_device())] if jobs_per_device > 1 else [])
    return [name for name in named for _ in range(jobs_per_device)] or None


Whole = Annotated[int, Parameter(converter=_whole)]
Seed = Annotated[int, Parameter(converter=_whole, validator=validators.Number(gte=0, lt=2**63))]
Count = Annotated[int, Parameter(converter=_whole, validator=validators.Number(gte=1))]
