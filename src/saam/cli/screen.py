"""Output of the commands: the screen, and a live view of a comparison."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from saam._core.errors import printable
from saam.comparison import Comparison
from saam.data import Splits
from saam.report import table
from saam.report.words import duration, few_images

__all__ = ["AsJson", "print_json", "screen", "show_data", "shown"]

AsJson = Annotated[bool, Parameter(name="--json")]


def screen(*, errors: bool = False) -> Console:
    """Return standard output for rich: at least 100 columns wide, unless a terminal or COLUMNS sets the width.

    Args:
        errors: Whether to return standard error instead.
    """
    console = Console(highlight=False, markup=False, stderr=errors)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = max(console.width, 100)
    return console


def print_json(document: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False))


def show_data(console: Console, splits: Splits) -> None:
    """Describe the data, with anything unusual about them, and say if there are few test images."""
    parts = (("training", splits.train), ("validation", splits.validation), ("test", splits.test))
    sizes = ", ".join(f"{len(images):,} {part} images" for part, images in parts)
    console.print(f"{splits.label}: {sizes}, {len(splits.classes)} classes", soft_wrap=True)
    for warning in filter(None, (*splits.notes, few_images(len(splits.test)))):
        console.print(warning, style="yellow", soft_wrap=True)


@contextmanager
def shown(console: Console, *, quiet: bool = False, costs: bool = False) -> Iterator[Callable[[Comparison], None]]:
    """Yield a function that shows the comparison so far, and print its table at the end.

    On a terminal this is a live view; elsewhere each finished run is a line, unless ``quiet``. ``costs`` says whether
    costs are measured at the end.
    """
    pace = _Pace(costs=costs)
    if console.is_terminal and not quiet:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            yield lambda comparison: live.update(
                Group(table(comparison), *_under_way(comparison), pace.line(comparison)), refresh=True
            )
        return
    seen: list[Comparison] = []

    def tell(comparison: Comparison) -> None:
        before = seen[-1] if seen else comparison
        for line in () if quiet else _news(before, comparison, pace.line(comparison), first=not seen):
            console.print(line, soft_wrap=True)
        seen[:] = [comparison]

    yield tell
    if seen:
        console.print(table(seen[-1]))


def _news(before: Comparison, now: Comparison, line: str, *, first: bool) -> Iterator[str]:
    """Yield a line for each newly finished run, then one line on all runs."""
    known = {record.id for record in before.records}
    new = [record for record in now.records if record.id not in known]
    old = {failure.id for failure in before.failures if not first}
    failed = [failure for failure in now.failures if failure.id not in old]
    for failure in failed:
        yield f"{failure.arm}, seed {failure.seed}: failed, {printable(failure.error)}"
    for record in new:
        scores = (f"{metric.label} {record.test[metric.name]:.{metric.digits}f}" for metric in now.plan.metrics)
        yield f"{record.arm}, seed {record.seed}: {', '.join(scores)}"
    if first and (now.records or now.failures):
        yield f"resumed: {line}"
    elif first or new or failed:
        yield line


class _Pace:
    """The progress and the remaining time of a comparison, counted in epochs."""

    def __init__(self, *, costs: bool) -> None:
        self.costs = costs
        self.started = time.monotonic()
        self.had: float | None = None

    def line(self, comparison: Comparison) -> str:
        """Return one line: the number of finished runs, and the elapsed or remaining time."""
        finished, planned = len(comparison.records) + len(comparison.failures), len(comparison.plan.schedule())
        done = finished + sum(run.epoch / run.epochs for run in comparison.progress)
        self.had = done if self.had is None else self.had
        passed = time.monotonic() - self.started
        if finished == planned:
            known = {cost.arm for cost in comparison.costs}
            rest = self.costs and not known.issuperset(comparison.plan.arms)
            return f"{finished} of {planned} runs, {duration(passed)}{'; measuring costs ...' if rest else ''}"
        if done <= self.had:
            return f"{finished} of {planned} runs"
        return f"{finished} of {planned} runs, about {duration(passed / (done - self.had) * (planned - done))} to go"


def _under_way(comparison: Comparison) -> Iterator[Table]:
    """Yield a table of the current runs, if any."""
    if not comparison.progress:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    names = list(dict.fromkeys(name for run in comparison.progress for name in run.numbers))
    for name in ("under way", "seed", "epoch", *names):
        table.add_column(name.replace("_", " "), justify="left" if name == "under way" else "right", style="dim")
    for run in comparison.progress:
        numbers = (f"{run.numbers[name]:.4g}" if name in run.numbers else "" for name in names)
        table.add_row(run.arm, str(run.seed), f"{run.epoch}/{run.epochs}", *numbers)
    yield table
