"""The charts of the page as Vega-Lite specifications. The page's theme sets the colours of text and axes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from textwrap import wrap
from typing import Any, Literal, NamedTuple

import altair as alt

from saam.comparison.metrics import Metric
from saam.comparison.records import RunRecord
from saam.comparison.statistics import ArmSummary, Difference
from saam.report.overview import Overview
from saam.report.use import GATES, SCORES, Kind, SiteUse, use_by_epoch
from saam.report.words import interval, number, signed

__all__ = ["Chart", "Section", "charts", "colour_of_arm", "spec_of"]

Section = Literal["scores", "of_focus", "to_reference", "cost", "curves", "gates", "use", "classes", "calibration"]

_FOCUS, _REFERENCE = "#d1495b", "#8b929c"
_OTHERS = ("#2f7fb8", "#3a9d78", "#c98a1b", "#8b6bb8", "#4fb0c6", "#a3623a", "#6d8f2f", "#c46aa0")
_DEPTHS = ("#3a9d78", "#2f7fb8", "#8b6bb8", "#d1495b")  # from the first site to the last; legible on light and dark
_USES = {"share": "share of the pixels", "change": "relative change of the map"}
_MOST_ARMS = {"gates": 4, "use": 8}  # largest numbers of arms with a chart of use
_MOST_SITES = 8  # largest number of sites in a legend
_MOST_REPORTED = 6  # largest number of curves of a task


@dataclass(frozen=True)
class Chart:
    """One chart: its section on the page, its title and its Vega-Lite specification."""

    section: Section
    title: str
    spec: dict[str, Any]


def charts(view: Overview, records: Sequence[RunRecord]) -> list[Chart]:
    """Return all charts that the current records allow."""
    drawn = []
    for metric in view.metrics:
        scores = [_Entry(row.arm, row.arm, row.scores[metric.name]) for row in view.rows if metric.name in row.scores]
        if _drawable(scores):
            drawn.append(Chart("scores", metric.title, _forest(view, scores, metric, _score_axis(metric))))
    families: dict[Section, Mapping[str, tuple[Difference, ...]]] = {"of_focus": view.of_focus}
    if view.focus != view.reference:
        families["to_reference"] = view.to_reference
    for section, family in families.items():
        for metric in view.metrics:
            pairs = []
            for each in family[metric.name]:
                other = each.reference if section == "of_focus" else each.arm
                pairs.append(_Entry(f"{each.arm} \N{MINUS SIGN} {each.reference}", other, each))
            if _drawable(pairs):
                drawn.append(Chart(section, metric.title, _forest(view, pairs, metric, _difference_axis(metric))))
    if any(row.cost and view.primary.name in row.scores for row in view.rows):
        drawn.append(Chart("cost", "Time of a training step", _cost(view, "step", "times the plain backbone's")))
        drawn.append(Chart("cost", "Parameters", _cost(view, "parameters", "trainable parameters")))
    for metric in view.metrics:
        names = [f"validation_{metric.name}"]
        names += [f"train_{metric.name}"] if metric.better == "lower" else []  # where both are drawn, they are alike
        values = _curve_values(view, records, names, metric)
        if len({point["epoch"] for point in values}) > 1:
            names = [name for name in names if any(point["measure"] == name.replace("_", " ") for point in values)]
            part = names[0].partition("_")[0]  # a task may report no validation
            title = f"{part} {metric.label}{_unit(metric)}"
            drawn.append(Chart("curves", f"{part.title()} {metric.label}", _curves(view, values, names, title)))
    for metric in _reported(view, records):
        values = _curve_values(view, records, [metric.name], metric)
        if len({point["epoch"] for point in values}) > 1:
            title = f"{metric.label}{_unit(metric)}"
            drawn.append(Chart("curves", metric.title, _curves(view, values, [metric.name], title)))
    drawn += _uses(view, records, GATES, "gates", "change of the map by site")
    drawn += _uses(view, records, SCORES, "use", "pixels used by site")
    return drawn


def _uses(view: Overview, records: Sequence[RunRecord], kind: Kind, section: Section, what: str) -> list[Chart]:
    """Draw for each arm how much its sites are used, the focus arm first; not for a single epoch."""
    uses = {row.arm: use_by_epoch([record for record in records if record.arm == row.arm], kind) for row in view.rows}
    moved = [arm for arm, use in uses.items() if len({point.epoch for point in use}) > 1]
    shown = sorted(moved, key=lambda arm: arm != view.focus)[: _MOST_ARMS[section]]
    return [Chart(section, f"{arm}: {what}", _use(arm, uses[arm], kind)) for arm in shown]


class _Entry(NamedTuple):
    """One row of a forest chart; `arm` gives the colour."""

    label: str
    arm: str
    values: ArmSummary | Difference


def _drawable(entries: Sequence[_Entry]) -> bool:
    return any(math.isfinite(each.values.mean) for each in entries)


def _forest(view: Overview, entries: Sequence[_Entry], metric: Metric, title: str) -> dict[str, Any]:
    """Draw every seed of an entry as a point, and above the points their mean with its 95 % interval.

    A thin line behind the interval of a difference is its confidence sequence.
    """
    paired = isinstance(entries[0].values, Difference)
    points, means, sequences = [], [], list[dict[str, Any]]()
    for label, arm, each in entries:
        row = {"label": _lines(label), "arm": arm}
        points += [{**row, "seed": seed, "value": _finite(value)} for seed, value in each.values.items()]
        if math.isfinite(each.mean):
            ends = (
                {"low": each.low, "high": each.high}
                if math.isfinite(each.low)
                else {"low": each.mean, "high": each.mean}
            )
            text = (signed if paired else number)(each.mean, metric.digits)
            spelled = {"text": text, "interval": interval(each, metric.digits)}
            if isinstance(each, Difference):
                spelled["sequence"] = interval(each.evidence, metric.digits)
                if math.isfinite(each.evidence.low) and math.isfinite(each.evidence.high):
                    sequences.append({**row, "low": each.evidence.low, "high": each.evidence.high})
            means.append({**row, "mean": each.mean, **ends, **spelled})
    labels = alt.Axis(ticks=False, domain=False, labelPadding=8, labelExpr="split(datum.label, '\\n')")
    rows = alt.Scale(domain=[_lines(each.label) for each in entries])
    shown = [value for _, _, each in entries for value in (*each.values.values(), each.low, each.high)]
    shown += [end for each in sequences for end in (each["low"], each["high"])]
    frame = _frame([*shown, 0.0], (-math.inf, math.inf)) if paired else _frame(shown, (metric.low, metric.high))
    scale = alt.Scale(zero=False, nice=True, domain=frame)
    x = {"title": title, "scale": scale, "axis": alt.Axis(tickCount=6, titleAnchor="end")}
    y, colour = alt.Y("label:N", title=None, axis=labels, scale=rows), colour_of_arm(view)
    runs = alt.Chart(alt.Data(values=points)).encode(y=y, color=colour)
    tips = [_tip("label", "arm"), _tip("text", "mean"), _tip("interval", "95 % interval")]
    tips += [_tip("sequence", "confidence sequence")] if paired else []
    summary = alt.Chart(alt.Data(values=means)).encode(y=y, color=colour, tooltip=tips)
    layers = [
        runs.mark_circle(size=46, opacity=0.55, yOffset=7).encode(
            x=alt.X("value:Q", **x),
            tooltip=[_tip("label", "arm"), _tip("seed", "seed"), alt.Tooltip("value:Q", format=".4f")],
        ),
        summary.mark_rule(strokeWidth=2.5, yOffset=-4).encode(x=alt.X("low:Q", **x), x2="high:Q"),
        summary.mark_point(size=70, filled=True, opacity=1, shape="diamond", yOffset=-4).encode(x=alt.X("mean:Q", **x)),
        alt.Chart(alt.Data(values=means)).mark_text(dy=-14, fontSize=11).encode(x="mean:Q", y=y, text="text:N"),
    ]
    if sequences:
        thin = alt.Chart(alt.Data(values=sequences)).mark_rule(strokeWidth=1, yOffset=-4)
        layers.append(thin.encode(x=alt.X("low:Q", **x), x2="high:Q", y=y, color=colour))
    if paired:
        zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeDash=[4, 3])
        layers.insert(0, zero.encode(x=alt.X("zero:Q", **x)))
    return spec_of(alt.layer(*layers), height=48 * len(entries))


def _cost(view: Overview, field: Literal["step", "parameters"], title: str) -> dict[str, Any]:
    """Draw each arm's primary score with its 95 % interval against its cost."""
    metric, values, shown = view.primary, list[dict[str, Any]](), list[float]()
    for row in view.rows:
        if row.cost and metric.name in row.scores and math.isfinite(row.scores[metric.name].mean):
            cost = row.cost.train_step_ratio if field == "step" else row.cost.parameters
            score = row.scores[metric.name]
            low, high = (score.low, score.high) if math.isfinite(score.low) else (score.mean, score.mean)
            shown += [low, high]
            values.append({"arm": row.arm, "cost": cost, "score": score.mean, "low": low, "high": high})
    x = alt.X("cost:Q", title=title, scale=alt.Scale(zero=False, nice=True, padding=24), axis=alt.Axis(tickCount=5))
    scale = alt.Scale(zero=False, nice=True, domain=_frame(shown, (metric.low, metric.high)))
    y = {"title": _score_axis(metric), "scale": scale, "axis": alt.Axis(tickCount=6)}
    base = alt.Chart(alt.Data(values=values)).encode(x=x, color=colour_of_arm(view, legend=True))
    tooltip = [
        _tip("arm", "arm"),
        alt.Tooltip("score:Q", title=metric.label, format=f".{metric.digits}f"),
        alt.Tooltip("cost:Q", title=title),
    ]
    lines = base.mark_rule(strokeWidth=2, opacity=0.6).encode(y=alt.Y("low:Q", **y), y2="high:Q")
    circles = base.mark_circle(size=110, opacity=1).encode(y=alt.Y("score:Q", **y), tooltip=tooltip)
    return spec_of(alt.layer(lines, circles), height=300)


def _curve_values(
    view: Overview, records: Sequence[RunRecord], names: Sequence[str], metric: Metric
) -> list[dict[str, Any]]:
    """Return the points of a chart of curves: for each arm and measure those of `_by_epoch`."""
    return [
        {"arm": row.arm, "measure": name.replace("_", " "), **point}
        for row in view.rows
        for name in names
        for point in _by_epoch([record.curve for record in records if record.arm == row.arm], name, metric)
    ]


def _reported(view: Overview, records: Sequence[RunRecord]) -> list[Metric]:
    """Return the names of the numbers that the user's own tasks reported after their epochs, metrics first."""
    names = {name: None for record in records if not record.recipe for epoch in record.curve for name in epoch}
    theirs = [name for name in names if name not in ("epoch", "observed", "seconds", "learning_rate")]
    known = {f"{part}_{metric.name}" for metric in view.metrics for part in ("validation", "train")}
    metrics = {metric.name: metric for metric in view.metrics}
    found = [
        metrics.get(name) or Metric(name, "lower", spread=1.0, delta=1.0, low=-math.inf, label=name.replace("_", " "))
        for name in theirs
        if name not in known
    ]
    return sorted(found, key=lambda metric: metric.name not in metrics)[:_MOST_REPORTED]


def _curves(view: Overview, values: Sequence[dict[str, Any]], names: Sequence[str], title: str) -> dict[str, Any]:
    """Draw each arm's mean over seeds by epoch, with a band of one standard deviation on either side.

    The axis fits the epochs after the first quarter, because early learning exceeds the differences between arms.
    """
    trained = any(point["measure"].startswith("train") for point in values)
    title += "; training dashed" if trained and len(names) > 1 else ""
    last = max(point["epoch"] for point in values)
    late = [point for point in values if point["epoch"] > last / 4]
    frame = [min(point["low"] for point in late), max(point["high"] for point in late)]
    y = {"title": title, "scale": alt.Scale(zero=False, nice=True, domain=frame)}
    dashes = alt.Scale(domain=[name.replace("_", " ") for name in names], range=[[1, 0], [4, 3]][: len(names)])
    picked = alt.selection_point(fields=["arm"], bind="legend")
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(nice=False)),
        color=colour_of_arm(view, legend=True),
    )
    band = base.mark_area(clip=True).encode(
        y=alt.Y("low:Q", **y),
        y2="high:Q",
        detail="measure:N",
        opacity=alt.condition(picked, alt.value(0.13), alt.value(0.02)),
    )
    line = base.mark_line(strokeWidth=2, clip=True).encode(
        y=alt.Y("mean:Q", **y),
        strokeDash=alt.StrokeDash("measure:N", legend=None, scale=dashes),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.12)),
        tooltip=[
            _tip("arm", "arm"),
            _tip("measure", "measure"),
            alt.Tooltip("epoch:Q"),
            alt.Tooltip("mean:Q", format=".4f"),
        ],
    )
    return spec_of(alt.layer(band, line.add_params(picked)), height=300)


def _use(arm: str, uses: Sequence[SiteUse], kind: Kind) -> dict[str, Any]:
    """Draw by epoch how much each site of an arm is used: the share of its pixels, or the change of its map.

    Invisible points carry the tooltips, because a line can have only one.
    """
    values = [{"arm": arm, "site": use.site, "epoch": use.epoch, **use.values} for use in uses]
    values = [
        {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()} for row in values
    ]
    sites = list(dict.fromkeys(use.site for use in uses))
    named = [sites[place] for place in _spread(len(sites), _MOST_SITES)]
    legend = alt.Legend(title=None, symbolOpacity=1, columns=_columns(named), values=named)
    scale = alt.Scale(domain=[0, 1]) if kind is SCORES else alt.Scale(zero=True)
    y = {"title": _USES[kind.main], "scale": scale, "axis": alt.Axis(tickCount=5)}
    picked = alt.selection_point(fields=["site"], bind="legend")
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(nice=False)),
        y=alt.Y(f"{kind.main}:Q", **y),
        color=alt.Color("site:N", scale=alt.Scale(domain=sites, range=_ramp(len(sites))), legend=legend),
    )
    line = base.mark_line(strokeWidth=2).encode(opacity=alt.condition(picked, alt.value(1), alt.value(0.12)))
    points = base.mark_circle(size=90, opacity=0).encode(
        tooltip=[
            _tip("arm", "arm"),
            _tip("site", "site"),
            alt.Tooltip("epoch:Q"),
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in (kind.main, *kind.others)),
        ]
    )
    if kind is not SCORES:
        return spec_of(alt.layer(line.add_params(picked), points), height=240)
    mean = alt.Chart(alt.Data(values=[{"share": 1, "text": "mean pooling"}])).encode(y=alt.Y("share:Q", **y))
    rule = mean.mark_rule(strokeDash=[4, 3])
    text = mean.mark_text(align="right", dy=-8, fontSize=11).encode(x=alt.value("width"), text="text:N")
    return spec_of(alt.layer(rule, text, line.add_params(picked), points), height=240)


def _by_epoch(curves: Sequence[Sequence[Mapping[str, Any]]], name: str, metric: Metric) -> list[dict[str, float]]:
    """Return for each epoch the mean over runs and one standard deviation on either side, ignoring NaN."""
    found: dict[int, list[float]] = {}
    for epoch in (epoch for curve in curves for epoch in curve):
        value = epoch.get(name)
        if value is not None and math.isfinite(value):
            found.setdefault(epoch["epoch"], []).append(value)
    points = []
    for place, each in sorted(found.items()):
        mean, spread = fmean(each), stdev(each) if len(each) > 1 else 0.0
        low, high = max(mean - spread, metric.low), min(mean + spread, metric.high)
        points.append({"epoch": place, "mean": mean, "low": low, "high": high})
    return [{key: round(value, 5) for key, value in point.items()} for point in points]


def _unit(metric: Metric) -> str:
    return f" ({metric.unit})" if metric.unit else ""


def _score_axis(metric: Metric) -> str:
    way = ", lower is better" if metric.better == "lower" else ""
    return f"test {metric.label}{_unit(metric)}{way}"


def _difference_axis(metric: Metric) -> str:
    unit = f" ({metric.difference_unit})" if metric.difference_unit else ""
    return f"difference{unit}, {'right' if metric.better == 'higher' else 'left'} of zero is better"


def _frame(values: Sequence[float], limits: tuple[float, float]) -> list[float]:
    """Return the ends of an axis: slightly beyond all values, but within the possible range."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    margin = 0.04 * (high - low) or 0.5
    return [max(low - margin, limits[0]), min(high + margin, limits[1])]


def spec_of(chart: alt.LayerChart, **size: Any) -> dict[str, Any]:
    """Return the specification, as wide as its container and without altair's theme."""
    spec: dict[str, Any] = chart.properties(width="container", **size).to_dict()
    return {key: value for key, value in spec.items() if key not in ("$schema", "config")}


def colour_of_arm(view: Overview, *, legend: bool = False) -> alt.Color:
    """Return a colour by arm that is the same in every chart; focus and reference have their own."""
    arms = [row.arm for row in view.rows]
    others = [arm for arm in arms if arm not in (view.focus, view.reference)]
    shades = {arm: _OTHERS[place % len(_OTHERS)] for place, arm in enumerate(others)}
    shades |= {view.reference: _REFERENCE, view.focus: _FOCUS}
    scale = alt.Scale(domain=arms, range=[shades[arm] for arm in arms])
    shown = alt.Legend(title=None, symbolOpacity=1, columns=_columns(arms)) if legend else None
    return alt.Color("arm:N", scale=scale, legend=shown)


def _columns(labels: Sequence[str]) -> int:
    """Return how many columns of a legend fit a phone: 300 pixels, and 30 plus about 7 per letter for each column."""
    return max(1, 300 // (30 + 7 * max(map(len, labels))))


def _ramp(count: int) -> list[str]:
    """Return one colour per site, evenly spaced from the first depth's to the last's."""
    stops = [[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in _DEPTHS]
    colours = []
    for index in range(count):
        stop, part = divmod(index * (len(stops) - 1) / max(1, count - 1), 1)
        before, after = stops[int(stop)], stops[min(int(stop) + 1, len(stops) - 1)]
        colours.append("#" + "".join(f"{round(a + part * (b - a)):02x}" for a, b in zip(before, after, strict=True)))
    return colours


def _spread(count: int, most: int) -> list[int]:
    """Return all indices of a list, or for a long list at most the given number, evenly spaced."""
    return list(range(count)) if count <= most else [round(step * (count - 1) / (most - 1)) for step in range(most)]


def _lines(label: str) -> str:
    """Break a long label into lines, as for arms with options."""
    return "\n".join(wrap(label.replace(",", ", "), 26))


def _tip(field: str, title: str) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:N", title=title)


def _finite(value: float) -> float | None:
    """Return None, which charts leave out, for numbers that JSON cannot hold."""
    return value if math.isfinite(value) else None
