"""What a test score is: which way is better, how it is printed, and what difference matters.

A comparison fixes this before the first run. `Metric.spread` sets the scale of the anytime-valid verdict, and
`Metric.delta` says how close two arms must be to count as equivalent; both would mislead if they were chosen
afterwards.
"""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

from saam._core.errors import unknown

__all__ = ["ACCURACY", "LOSS", "Better", "Metric"]

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """One score of a test, under its name in ``record.test``.

    Attributes:
        name: key in ``record.test``.
        better: "higher" or "lower".
        spread: the expected standard deviation of a paired difference. A wrong guess costs seeds, never validity.
        delta: two arms are equivalent if their true difference is within plus or minus this.
        unit: of the score, as in "%"; a difference of percentages is in points.
        digits: after the decimal point, in print.
        low: least possible score.
        high: largest possible score.
        label: the name in print; ``name`` where none is given.

    Raises:
        ValueError: an empty name, an unknown direction, a spread or delta that is not positive, negative digits, or
            limits in the wrong order.

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
    low: float = 0.0
    high: float = math.inf
    label: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a metric needs a name, got ''")
        if self.better not in get_args(Better):
            raise unknown("direction", self.better, get_args(Better))
        for field in ("spread", "delta"):
            value = getattr(self, field)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"the {field} of metric {self.name!r} must be a number above 0, got {value}")
        if self.digits < 0:
            raise ValueError(f"the digits of metric {self.name!r} must be 0 or more, got {self.digits}")
        if not self.label:
            object.__setattr__(self, "label", self.name)
        if not self.low < self.high:
            raise ValueError(f"metric {self.name!r} must have low < high, got {self.low} and {self.high}")

    @property
    def sign(self) -> int:
        """1 where higher is better, otherwise -1."""
        return 1 if self.better == "higher" else -1

    @property
    def title(self) -> str:
        """The name as it begins a line: "Accuracy"."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: "points" for percentages, otherwise the unit itself."""
        return "points" if self.unit == "%" else self.unit


ACCURACY = Metric("accuracy", "higher", spread=0.5, delta=0.5, unit="%", digits=2, high=100.0)
LOSS = Metric("loss", "lower", spread=0.02, delta=0.02, unit="nats", label="log-loss")
