import math
from dataclasses import replace

import pytest

from report.fakes import plan, record
from saam.comparison import Comparison
from saam.report.further import further_scores
from saam.report.page import html


def compared(classes: int) -> Comparison:
    planned = plan(arms=("none", "se"), seeds=2)
    further = {("none", 0): (90.0, 4.0), ("none", 1): (92.0, 6.0), ("se", 0): (93.0, 3.0), ("se", 1): (95.0, math.nan)}
    runs = []
    for arm, seed in planned.schedule():
        run = record(arm, seed, 80.0, 0.5)
        top5, calibration = further[arm, seed]
        runs.append(replace(run, test={**run.test, "top5": top5, "calibration": calibration}))
    return Comparison(planned, tuple(runs), (), classes=classes)


def test_means_spreads_and_paired_differences() -> None:
    top, other, *calibration = further_scores(compared(10))
    assert (top.arm, top.title, top.n, top.mean, top.difference) == ("none", "Top-5, %", 2, 91.0, 0.0)
    assert top.spread == pytest.approx(math.sqrt(2))
    assert (other.mean, other.difference) == (94.0, 3.0)
    assert [(each.arm, each.n, each.mean, each.difference) for each in calibration] == [
        ("none", 2, 5.0, 0.0),
        ("se", 1, 3.0, -1.0),
    ]
    assert math.isnan(calibration[1].spread)


def test_five_classes_have_no_top_five() -> None:
    assert {each.title for each in further_scores(compared(5))} == {"Calibration error, %"}


def test_records_without_them_show_nothing() -> None:
    planned = plan(arms=("none", "se"), seeds=1)
    runs = tuple(record(arm, seed, 80.0, 0.5) for arm, seed in planned.schedule())
    whole = Comparison(planned, runs, (), classes=10)
    assert further_scores(whole) == []
    assert '<section id="calibration">' not in html(whole)
    assert "Top-5, %" in html(compared(10))
