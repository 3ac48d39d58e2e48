"""The charts of answers: accuracy by class, and calibration."""

from typing import Any

import altair as alt

from saam.report.answers import Answers, shown_classes
from saam.report.charts import Chart, colour_of_arm, spec_of
from saam.report.overview import Overview

__all__ = ["answer_charts"]


def answer_charts(view: Overview, found: Answers) -> list[Chart]:
    """Return the charts of what the runs answered for each image."""
    drawn = []
    if view.focus != view.reference and found.by_class(view.focus, view.reference):
        title = f"{view.focus} \N{MINUS SIGN} {view.reference}, by class"
        drawn.append(Chart("classes", title, _classes(view, found)))
    drawn.append(Chart("calibration", "Accuracy at each confidence", _calibration(view, found)))
    return drawn


def _classes(view: Overview, found: Answers) -> dict[str, Any]:
    """Draw the difference in each class with one standard deviation over seeds on either side."""
    shown = shown_classes(found.by_class(view.focus, view.reference))
    values = [
        {
            "arm": view.focus,
            "name": each.name,
            "mean": round(each.mean, 3),
            "low": round(each.mean - each.spread, 3),
            "high": round(each.mean + each.spread, 3),
            "reference": round(each.reference, 2),
            "images": each.images,
        }
        for each in shown
    ]
    x = {"title": "difference in accuracy (points), right of zero is better", "axis": alt.Axis(tickCount=6)}
    y = alt.Y(
        "name:N",
        title=None,
        scale=alt.Scale(domain=[each.name for each in shown]),
        axis=alt.Axis(ticks=False, domain=False),
    )
    base = alt.Chart(alt.Data(values=values)).encode(y=y, color=colour_of_arm(view))
    tips = [
        alt.Tooltip("name:N", title="class"),
        alt.Tooltip("mean:Q", title="difference", format="+.2f"),
        alt.Tooltip("reference:Q", title=f"accuracy of {view.reference}", format=".1f"),
        alt.Tooltip("images:Q", title="test images"),
    ]
    zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeDash=[4, 3]).encode(x=alt.X("zero:Q", **x))
    rules = base.mark_rule(strokeWidth=2, opacity=0.6).encode(x=alt.X("low:Q", **x), x2="high:Q")
    points = base.mark_circle(size=70, opacity=1).encode(x=alt.X("mean:Q", **x), tooltip=tips)
    return spec_of(alt.layer(zero, rules, points), height=18 * len(shown) + 20)


def _calibration(view: Overview, found: Answers) -> dict[str, Any]:
    """Draw accuracy against confidence, over the images of all seeds; the dashed line is perfect calibration."""
    values = []
    for row in view.rows:
        if row.arm in found.confidence:
            groups = found.reliability(row.arm)
            columns = (groups.count.tolist(), groups.confidence.tolist(), groups.accuracy.tolist())
            values += [
                {"arm": row.arm, "images": count, "confidence": round(100 * sure, 3), "accuracy": round(100 * right, 3)}
                for count, sure, right in zip(*columns, strict=True)
                if count
            ]
    scale = alt.Scale(domain=[0, 100])
    x = {"title": "confidence (%)", "scale": scale, "axis": alt.Axis(tickCount=5)}
    y = {"title": "accuracy (%)", "scale": scale, "axis": alt.Axis(tickCount=5)}
    picked = alt.selection_point(fields=["arm"], bind="legend")
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("confidence:Q", **x), y=alt.Y("accuracy:Q", **y), color=colour_of_arm(view, legend=True)
    )
    ends = alt.Data(values=[{"confidence": 0, "accuracy": 0}, {"confidence": 100, "accuracy": 100}])
    ideal = alt.Chart(ends).mark_line(strokeDash=[4, 3], strokeWidth=1, color="gray")
    tips = [
        alt.Tooltip("arm:N", title="arm"),
        alt.Tooltip("confidence:Q", format=".1f"),
        alt.Tooltip("accuracy:Q", format=".1f"),
        alt.Tooltip("images:Q", title="images, all seeds"),
    ]
    faded = alt.condition(picked, alt.value(1), alt.value(0.12))
    return spec_of(
        alt.layer(
            ideal.encode(x=alt.X("confidence:Q", **x), y=alt.Y("accuracy:Q", **y)),
            base.mark_line(strokeWidth=2).encode(opacity=faded).add_params(picked),
            base.mark_circle(size=50).encode(opacity=faded, tooltip=tips),
        ),
        height=300,
    )
