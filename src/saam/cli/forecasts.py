"""Output of ``--dry-run``: what comparisons take, before anything runs."""

from collections.abc import Mapping
from math import isfinite

from rich.console import Console
from rich.table import Table

from saam.cli.screen import print_json
from saam.comparison.forecast import Forecast
from saam.report.document import forecast_document
from saam.report.words import MISSING, count, duration

__all__ = ["show_forecasts"]


def show_forecasts(
    console: Console, told: Mapping[str, Forecast], *, unit: str, as_json: bool = False, until: int | None = None
) -> None:
    """Tabulate what each comparison takes, and what all of them take; on a narrow screen, names are folded.

    Args:
        console: The screen.
        told: Name of each comparison -> its forecast.
        unit: Unit of a difference in the primary metric.
        as_json: Whether to print one JSON document instead.
        until: Number of seeds up to which more are added until the arms are told; None adds none.
    """
    if as_json:
        print_json(forecast_document(told))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("comparison", "runs\nleft", "time", "memory\na run", "disk", "smallest\ndifference"):
        left = name == "comparison"
        table.add_column(name, justify="left" if left else "right", no_wrap=not left, overflow="fold")

    for name, each in told.items():
        table.add_row(name, *_amounts(each.runs, each.seconds, each.memory, each.disk), _smallest(each, unit))
    if len(told) > 1:
        every = told.values()
        runs, seconds, disk = (sum(getattr(each, field) for each in every) for field in ("runs", "seconds", "disk"))
        table.add_row("all", *_amounts(runs, seconds, max(each.memory for each in every), disk), MISSING)
    console.print(table)
    console.print(
        "Smallest difference: of one arm, at a fixed number of seeds, with probability .8 (paired t-test at .05, if "
        "differences spread as expected). Verdicts that hold at any number of seeds take more.",
        style="dim",
    )
    if until is not None:
        console.print(f"At least: seeds are added until the arms are told, up to {until}.", soft_wrap=True)


def _amounts(runs: int, seconds: float, memory: float, disk: float) -> list[str]:
    return [f"{runs:,}", duration(seconds), _size(memory), _size(disk)]


def _smallest(each: Forecast, unit: str) -> str:
    """Return the smallest difference that the seeds can show."""
    return f"{each.difference:.2f} {unit}" if isfinite(each.difference) else f"none below {each.seeds_needed} seeds"


def _size(count_of_bytes: float) -> str:
    """Return a number of bytes, as in "68.7 MB"."""
    text = count(count_of_bytes)
    return f"{text[:-1]} {text[-1]}B" if text[-1].isalpha() else f"{text} B"
