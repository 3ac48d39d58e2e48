"""The comparison as a table for the terminal, at most 100 columns wide."""

from rich.table import Table
from rich.text import Text

from saam.comparison import Comparison
from saam.report.overview import Row, overview
from saam.report.words import MISSING, count, interval, number, p_value, ratio, signed

__all__ = ["table"]

_STYLES = {"better": "bold green", "worse": "bold red", "cannot tell": "dim"}


def table(comparison: Comparison) -> Table:
    """Tabulate arms with accuracy, difference to the reference, log-loss, cost and verdict.

    Works while the comparison is under way: cells fill as runs finish, what is missing shows as an ellipsis.

    Args:
        comparison: plan, records and costs so far.

    Returns:
        A table whose cells hold two lines: the value, and under it its 95 % interval or difference to the reference.
    """
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
    made.add_column("arm", overflow="fold")
    versus = f"vs {view.reference}" if len(view.reference) <= 12 else "vs reference"
    for name in ("runs", "accuracy %", versus, "p (Holm)", "log-loss", "params", "step", "infer"):
        made.add_column(Text(name), justify="right", no_wrap=name != "p (Holm)")
    made.add_column("verdict", justify="right")
    for row in view.rows:
        made.add_row(*_cells(row, view.reference, len(comparison.plan.seeds)))
    return made


def _cells(row: Row, reference: str, seeds: int) -> list[Text]:
    accuracy, loss = row.scores.get("accuracy"), row.scores.get("loss")
    difference, loss_difference = row.differences.get("accuracy"), row.differences.get("loss")
    verdict = Text(difference.verdict, _STYLES[difference.verdict]) if difference else Text(MISSING)
    cells = [
        Text(row.arm, "bold"),
        Text(f"{row.runs}/{seeds}"),
        _two(number(accuracy.mean), interval(accuracy.low, accuracy.high)) if accuracy else Text(MISSING),
        _two(signed(difference.mean), interval(difference.low, difference.high)) if difference else Text(MISSING),
        Text(p_value(difference.p_holm) if difference else MISSING),
        _two(number(loss.mean, 3), signed(loss_difference.mean, 3) if loss_difference else "")
        if loss
        else Text(MISSING),
        Text(count(row.cost.parameters if row.cost else None)),
        Text(ratio(row.cost.train_step_ratio if row.cost else None)),
        Text(ratio(row.cost.inference_ratio if row.cost else None)),
        verdict,
    ]
    if row.arm == reference:
        cells[3], cells[4], cells[-1] = Text(""), Text(""), Text("reference", "dim")
    return cells


def _two(first: str, second: str) -> Text:
    return Text(first).append(f"\n{second}", "dim")


def _data(comparison: Comparison) -> str:
    """How the data is labelled, as soon as a run has said so."""
    return comparison.records[0].data if comparison.records else comparison.plan.data
