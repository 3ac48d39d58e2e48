"""Output of ``--dry-run``: what comparisons take, before anything runs."""

from collections.abc import Mapping
from math import inf, isfinite

from rich.console import Console
from rich.table import Table

from saam.comparison.forecast import Forecast
from saam.report.words import MISSING, count, duration

__all__ = ["show_forecasts", "until_told"]


def show_forecasts(console: Console, told: Mapping[str, Forecast], *, unit: str) -> None:
    """Tabulate what each comparison takes, and what all of them take; on a narrow screen, names are folded.

    Args:
        console: The screen.
        told: Name of each comparison -> its forecast.
        unit: Unit of a difference in the primary metric.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("comparison", "runs", "time", "memory\na run", "disk", "smallest\ndifference"):
        left = name == "comparison"
        table.add_column(name, justify="left" if left else "right", no_wrap=not left, overflow="fold")

    def row(name: str, each: Forecast) -> None:
        smallest = (
            f"{each.difference:.2f} {unit}" if isfinite(each.difference) else f"none below {each.seeds_needed} seeds"
        )
        smallest = smallest if name != "all" else MISSING
        sizes = (_size(each.memory), _size(each.disk))
        table.add_row(name, f"{each.runs:,}", duration(each.seconds), *sizes, smallest)

    for name, each in told.items():
        row(name, each)
    if len(told) > 1:
        every = told.values()
        row(
            "all",
            Forecast(
                runs=sum(each.runs for each in every),
                seconds=sum(each.seconds for each in every),
                memory=max(each.memory for each in every),
                disk=sum(each.disk for each in every),
                difference=inf,
                seeds_needed=0,
            ),
        )
    console.print(table)
    console.print(
        "Smallest difference: of one arm, at a fixed number of seeds, with probability .8 (paired t-test at .05, if "
        "differences spread as expected). Verdicts that hold at any number of seeds take more.",
        style="dim",
    )


def _size(count_of_bytes: float) -> str:
    """Return a number of bytes, as in "68.7 MB"."""
    text = count(count_of_bytes)
    return f"{text[:-1]} {text[-1]}B" if text[-1].isalpha() else f"{text} B"


def until_told(max_seeds: int) -> str:
    """Say that a forecast leaves out the seeds that are added later."""
    return f"At least: seeds are added until the arms are told, up to {max_seeds}."
