"""The comparison as a table for the terminal, at most 100 columns wide, and without the costs at most 80."""

from dataclasses import dataclass
from textwrap import wrap

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from saam.comparison import Comparison
from saam.report.overview import Row, overview
from saam.report.words import MISSING, count, interval, number, p_value, ratio, signed

__all__ = ["table"]

_STYLES = {"better": "bold green", "worse": "bold red", "cannot tell": "dim"}


@dataclass(frozen=True)
class ComparisonTable:
    """What rich prints: the whole table, or where the screen is too narrow the table without the costs."""

    comparison: Comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = _table(self.comparison, costs=True)
        fits = Measurement.get(console, options.update_width(1000), whole).maximum <= options.max_width
        yield whole if fits else _table(self.comparison, costs=False)


def table(comparison: Comparison) -> ComparisonTable:
    """Tabulate arms with accuracy, difference to the reference, log-loss, cost and verdict.

    Works while the comparison is under way: cells fill as runs finish, what is missing shows as an ellipsis.

    Args:
        comparison: plan, records and costs so far.

    Returns:
        A table whose cells hold two lines: the value, and under it its 95 % interval or difference to the reference.
        On a screen that is too narrow it leaves out the costs.
    """
    return ComparisonTable(comparison)


def _table(comparison: Comparison, *, costs: bool) -> Table:
    view = overview(comparison)
    made = Table(
        title=Text(f"{comparison.plan.model} on {_data(comparison)}: {view.finished} of {view.planned} runs"),
        caption=Text("\n".join(view.notes)) if view.notes else None,
        title_justify="left",
        caption_justify="left",
        padding=(0, 1, 0, 0),
        box=None,
        pad_edge=False,
    )
    made.add_column("arm", no_wrap=True)
    versus = f"vs {view.reference}" if len(view.reference) <= 12 else "vs reference"
    priced = ("params", "step", "infer") if costs else ()
    for name in ("runs", "accuracy %", versus, "p\n(Holm)", "log-loss", *priced, "verdict"):
        made.add_column(Text(name), justify="right", no_wrap=True)
    for row in view.rows:
        made.add_row(*_cells(row, view.reference, len(comparison.plan.seeds), costs=costs))
    return made


def _cells(row: Row, reference: str, seeds: int, *, costs: bool) -> list[Text]:
    accuracy, loss = row.scores.get("accuracy"), row.scores.get("loss")
    difference, loss_difference = row.differences.get("accuracy"), row.differences.get("loss")
    verdict = Text(difference.verdict, _STYLES[difference.verdict]) if difference else Text(MISSING)
    cells = [
        Text(_lines(row.arm), "bold"),
        Text(f"{row.runs}/{seeds}"),
        _two(number(accuracy.mean), interval(accuracy)) if accuracy else Text(MISSING),
        _two(signed(difference.mean), interval(difference)) if difference else Text(MISSING),
        Text(p_value(difference.p_holm) if difference else MISSING),
        _two(number(loss.mean, 3), signed(loss_difference.mean, 3) if loss_difference else "")
        if loss
        else Text(MISSING),
    ]
    if costs:
        cells += [
            Text(count(row.cost.parameters if row.cost else None)),
            Text(ratio(row.cost.train_step_ratio if row.cost else None)),
            Text(ratio(row.cost.inference_ratio if row.cost else None)),
        ]
    cells.append(verdict)
    if row.arm == reference:
        cells[3], cells[4], cells[-1] = Text(""), Text(""), Text("reference", "dim")
    return cells


def _lines(arm: str) -> str:
    """Break a long arm between its options, never inside one."""
    lines = wrap(arm.replace(",", ", "), 14, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace(", ", ",")


def _two(first: str, second: str) -> Text:
    return Text(first).append(f"\n{second}", "dim")


def _data(comparison: Comparison) -> str:
    """How the data is labelled, as soon as a run has said so."""
    return comparison.records[0].data if comparison.records else comparison.plan.data
