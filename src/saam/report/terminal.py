"""The comparison as a table for the terminal. On a narrow screen it drops columns instead of breaking numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from rich.console import Console, ConsoleOptions, RenderResult
from rich.jupyter import JupyterMixin
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from saam.comparison import Comparison
from saam.comparison.metrics import Metric
from saam.comparison.statistics import Difference
from saam.report.overview import Overview, Row, overview
from saam.report.setting import setting
from saam.report.words import MISSING, count, forecast, interval, number, p_value, ratio, signed

__all__ = ["table"]

_STYLES = {"better": "bold green", "worse": "bold red", "equivalent": "bold cyan", "cannot tell yet": "dim"}


@dataclass(frozen=True)
class _Layout:
    """The optional columns of a table, in addition to arm, runs, primary metric and verdict."""

    costs: bool
    others: tuple[Metric, ...]
    p: bool


@dataclass(frozen=True)
class ComparisonTable(JupyterMixin):
    """A rich renderable: the widest table that fits the screen, or a notebook."""

    comparison: Comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        view = overview(self.comparison)
        for layout in _layouts(view.metrics[1:], costs=setting(self.comparison).task is None):
            made = _table(self.comparison, view, layout)
            if Measurement.get(console, options.update_width(1000), made).maximum <= options.max_width:
                break
        yield made
        yield from (Text(note) for note in view.notes)


def table(comparison: Comparison) -> ComparisonTable:
    """Tabulate the arms with their scores, the difference to the reference, cost and verdict.

    It also works while the comparison is running: cells are filled as runs finish, and missing values are an ellipsis.

    Args:
        comparison: Plan, records and costs so far.

    Returns:
        A table whose cells have two lines: the value, and below it its 95 % interval or difference to the reference;
        below a verdict its confidence sequence, or how many more seeds are needed. On a narrow screen the table first
        drops the costs, then all metrics except the primary one, then p. Notes are below the table.
    """
    return ComparisonTable(comparison)


def _layouts(others: Sequence[Metric], *, costs: bool) -> Iterator[_Layout]:
    """Yield layouts from the widest to the narrowest. The costs of the user's own task are never measured."""
    if costs:
        yield _Layout(costs=True, others=tuple(others), p=True)
    for kept in range(len(others), -1, -1):
        yield _Layout(costs=False, others=tuple(others[:kept]), p=True)
    yield _Layout(costs=False, others=(), p=False)


def _table(comparison: Comparison, view: Overview, layout: _Layout) -> Table:
    made = Table(
        title=Text(f"{setting(comparison).title}: {view.finished} of {view.planned} runs"),
        title_justify="left",
        padding=(0, 1, 0, 0),
        box=None,
        pad_edge=False,
    )
    made.add_column("arm", no_wrap=True)
    versus = f"vs {view.reference}" if len(view.reference) <= 10 else "vs reference"
    names = ["runs", _header(view.primary), f"{versus}\nfixed n"]
    names += ["p Holm\nfixed n"] if layout.p else []
    names += [_header(metric) for metric in layout.others]
    names += ["params", "step", "infer"] if layout.costs else []
    for name in (*names, "verdict\nany n"):
        made.add_column(Text(name), justify="right", no_wrap=True)
    for row in view.rows:
        made.add_row(*_cells(row, view, layout))
    return made


def _header(metric: Metric) -> str:
    return f"{metric.label} %" if metric.unit == "%" else metric.label


def _cells(row: Row, view: Overview, layout: _Layout) -> list[Text]:
    metric, is_reference = view.primary, row.arm == view.reference
    score, difference = row.scores.get(metric.name), row.differences.get(metric.name)
    runs = Text(f"{row.runs}/{row.planned}")
    if row.failed:
        runs.append(f"\n{row.failed} failed", "bold red")
    cells = [Text(_lines(row.arm), "bold"), runs]
    cells.append(_two(number(score.mean, metric.digits), interval(score, metric.digits)) if score else Text(MISSING))
    if is_reference:
        cells += [Text("")] * (2 if layout.p else 1)
    else:
        cells.append(
            _two(signed(difference.mean, metric.digits), interval(difference, metric.digits))
            if difference
            else Text(MISSING)
        )
        cells += [Text(p_value(difference.p_holm) if difference else MISSING)] if layout.p else []
    for other in layout.others:
        value, gap = row.scores.get(other.name), row.differences.get(other.name)
        below = signed(gap.mean, other.digits) if gap else ""
        cells.append(_two(number(value.mean, other.digits), below) if value else Text(MISSING))
    if layout.costs:
        cells += _costs(row)
    cells.append(Text("reference", "dim") if is_reference else _verdict(difference))
    return cells


def _costs(row: Row) -> list[Text]:
    if row.cost is None:
        return [Text(MISSING)] * 3
    step, inference = (getattr(row.cost, f"{name}_ratio_spread", None) for name in ("train_step", "inference"))
    times = ((row.cost.train_step_ratio, step), (row.cost.inference_ratio, inference))
    return [
        Text(count(row.cost.parameters)),
        *(_two(*ratio(value, spread=spread).partition(" ")[::2]) for value, spread in times),
    ]


def _verdict(difference: Difference | None) -> Text:
    if difference is None:
        return Text(MISSING)
    below = forecast(difference).replace("about ", "~").replace("more than ", ">")
    if difference.verdict != "cannot tell yet":
        below = interval(difference.evidence, difference.metric.digits)
    return Text(difference.verdict, _STYLES[difference.verdict]).append(f"\n{below}", "dim")


def _lines(arm: str) -> str:
    """Break a long arm between its options, but not inside one."""
    lines = wrap(arm.replace(",", ", "), 14, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(", ", ",")


def _two(first: str, second: str) -> Text:
    return Text(first).append(f"\n{second}", "dim") if second else Text(first)
