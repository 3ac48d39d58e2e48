"""Metrics: the better direction of a test score, its format, and the difference that matters.

A comparison fixes these before the first run. `Metric.spread` sets the scale of the anytime-valid verdict, and
`Metric.delta` defines how close two arms must be to count as equivalent. Choosing either one afterwards would be
misleading.
"""

import math
from dataclasses import KW_ONLY, asdict, dataclass, fields
from typing import Any, Literal, Self, get_args

from saam._core.errors import printable, unknown

__all__ = ["ACCURACY", "LOSS", "Better", "Metric"]

Better = Literal["higher", "lower"]

_LARGEST = 1e9  # far larger or smaller values make statistics overflow
_MOST_DIGITS = 12


@dataclass(frozen=True)
class Metric:
    """One test score, stored under its name in ``record.test``.

    Attributes:
        name: Key in ``record.test``.
        better: "higher" or "lower".
        spread: The expected standard deviation of a paired difference. A wrong value costs seeds, but not validity.
        delta: Two arms are equivalent if their true difference is within plus or minus this.
        unit: Unit of the score, as in "%"; a difference of percentages is in points.
        digits: Digits after the decimal point in print.
        low: Smallest possible score; intervals end there, and another score is an error.
        high: Largest possible score, likewise.
        label: Name in print; ``name`` by default.

    Raises:
        ValueError: If the name is empty, the direction unknown, spread or delta not positive or out of scale, digits
            out of range, or the limits in the wrong order.

    Example:
        >>> Metric("iou", "higher", spread=0.5, delta=0.5, unit="%", high=100.0).difference_unit
        'points'
    """

    name: str
    better: Better
    _: KW_ONLY
    spread: float
    delta: float
    unit: str = ""
    digits: int = 3
    low: float = -math.inf
    high: float = math.inf
    label: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"a metric needs a name, got {self.name!r}")
        if self.better not in get_args(Better):
            raise unknown("direction", self.better, get_args(Better))
        for field in ("spread", "delta"):
            value = getattr(self, field)
            if not 1 / _LARGEST <= value <= _LARGEST:
                raise ValueError(
                    f"the {field} of metric {self.name!r:.80} must be a number above 0, {1 / _LARGEST:g} to "
                    f"{_LARGEST:g}, got {value}"
                )
        if not isinstance(self.digits, int) or not 0 <= self.digits <= _MOST_DIGITS:
            raise ValueError(
                f"the digits of metric {self.name!r:.80} must be a whole number, 0 to {_MOST_DIGITS}, got {self.digits}"
            )
        if not self.label:
            object.__setattr__(self, "label", self.name)
        if not self.low < self.high:
            raise ValueError(f"metric {self.name!r:.80} must have low < high, got {self.low} and {self.high}")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values; infinite limits are None."""
        return {name: value if value not in (math.inf, -math.inf) else None for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Return the metric with these values, the inverse of `to_json`.

        Raises:
            ValueError: If fields are missing, unknown, of the wrong type or out of range.
        """
        if not isinstance(values, dict) or values.keys() != {entry.name for entry in fields(cls)}:
            raise ValueError(f"expected the fields of a metric, got {values!r:.200}")
        limits = {"low": -math.inf, "high": math.inf}
        values = {name: limits[name] if value is None and name in limits else value for name, value in values.items()}
        read: dict[str, Any] = {}
        for entry in fields(cls):
            kind = {"digits": int, "spread": float, "delta": float, "low": float, "high": float}.get(entry.name, str)
            value = values[entry.name]
            if not isinstance(value, int | float if kind is float else kind) or isinstance(value, bool):
                raise ValueError(f"the {entry.name} of a metric is {value!r:.80}")
            read[entry.name] = printable(value) if isinstance(value, str) else value
        return cls(**read)

    @property
    def sign(self) -> int:
        """1 if higher is better, otherwise -1."""
        return 1 if self.better == "higher" else -1

    @property
    def title(self) -> str:
        """The name at the beginning of a line: "Accuracy"."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: "points" for percentages, otherwise the unit itself."""
        return "points" if self.unit == "%" else self.unit


ACCURACY = Metric("accuracy", "higher", spread=0.5, delta=0.5, unit="%", digits=2, low=0.0, high=100.0)
LOSS = Metric("loss", "lower", spread=0.02, delta=0.02, unit="nats", low=0.0, label="log-loss")
