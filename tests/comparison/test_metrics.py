import math
import re

import pytest

from saam.comparison.metrics import ACCURACY, LOSS, Metric


def test_accuracy_and_loss_have_their_units_and_bounds() -> None:
    assert (ACCURACY.better, ACCURACY.unit, ACCURACY.difference_unit) == ("higher", "%", "points")
    assert (ACCURACY.spread, ACCURACY.delta, ACCURACY.low, ACCURACY.high) == (0.5, 0.5, 0.0, 100.0)
    assert (LOSS.better, LOSS.unit, LOSS.difference_unit) == ("lower", "nats", "nats")
    assert (LOSS.spread, LOSS.delta, LOSS.low, LOSS.high) == (0.02, 0.02, 0.0, math.inf)
    assert (ACCURACY.digits, LOSS.digits) == (2, 3)
    assert (ACCURACY.sign, LOSS.sign) == (1, -1)
    assert (ACCURACY.title, LOSS.title) == ("Accuracy", "Log-loss")


def test_a_score_has_no_limits_unless_they_are_declared() -> None:
    metric = Metric("r2", "higher", spread=0.02, delta=0.02)
    assert (metric.low, metric.high) == (-math.inf, math.inf)


def test_a_name_is_its_own_label() -> None:
    metric = Metric("iou", "higher", spread=0.4, delta=0.5)
    assert (metric.label, metric.title, metric.unit) == ("iou", "Iou", "")
    assert Metric("iou", "higher", spread=0.4, delta=0.5, label="IoU").title == "IoU"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "a metric needs a name"),
        ({"better": "hihger"}, "unknown direction 'hihger': did you mean 'higher'"),
        ({"spread": 0.0}, "the spread of metric 'iou' must be a number above 0, 1e-09 to 1e+09, got 0.0"),
        ({"spread": math.nan}, "the spread of metric 'iou' must be"),
        ({"delta": -1.0}, "the delta of metric 'iou' must be a number above 0, 1e-09 to 1e+09, got -1.0"),
        ({"digits": -1}, "the digits of metric 'iou' must be a whole number, 0 to 12, got -1"),
        ({"digits": 2.5}, "the digits of metric 'iou' must be a whole number, 0 to 12, got 2.5"),
        ({"name": 3}, "a metric needs a name, got 3"),
        ({"low": 1.0, "high": 1.0}, "metric 'iou' must have low < high, got 1.0 and 1.0"),
    ],
)
def test_what_is_no_metric_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Metric(**{"name": "iou", "better": "higher", "spread": 0.5, "delta": 0.5, **changes})
