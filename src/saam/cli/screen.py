"""What the commands print on: the screen, and a comparison on it while it fills."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live

from saam.comparison import Comparison
from saam.data import Splits
from saam.report import table
from saam.report.words import few_images

__all__ = ["screen", "show_data", "shown"]


def screen() -> Console:
    """Return standard output as rich knows it: 100 columns or more, unless a terminal or COLUMNS says how many."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
        console.width = max(console.width, 100)
    return console


def show_data(console: Console, splits: Splits) -> None:
    """Say what the data are, what is odd about them, and where their test images are few."""
    parts = (("training", splits.train), ("validation", splits.validation), ("test", splits.test))
    sizes = ", ".join(f"{len(images):,} {part} images" for part, images in parts)
    console.print(f"{splits.label}: {sizes}, {len(splits.classes)} classes", soft_wrap=True)
    for warning in filter(None, (*splits.notes, few_images(len(splits.test)))):
        console.print(warning, style="yellow", soft_wrap=True)


@contextmanager
def shown(console: Console) -> Iterator[Callable[[Comparison], None]]:
    """Give a function that shows a comparison so far: on a terminal one table that fills, else a line for each run."""
    started, had = time.monotonic(), None

    def line(comparison: Comparison) -> str:
        nonlocal had
        finished, planned = len(comparison.records), len(comparison.plan.schedule())
        had = finished if had is None else had
        text = f"{finished} of {planned} runs"
        if finished == planned:
            return f"{text}, {_minutes(time.monotonic() - started)}"
        if not comparison.costs:
            return f"{text}; measuring what the arms cost"
        if finished > had:
            text += f", about {_minutes((time.monotonic() - started) / (finished - had) * (planned - finished))} to go"
        return text

    if console.is_terminal:
        with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
            yield lambda comparison: live.update(Group(table(comparison), line(comparison)), refresh=True)
        return
    latest: Comparison | None = None

    def tell(comparison: Comparison) -> None:
        nonlocal latest
        known = {record.id for record in latest.records} if latest else {record.id for record in comparison.records}
        for record in comparison.records:
            if record.id not in known:
                score = f"{record.test['accuracy']:.2f} % right, log-loss {record.test['loss']:.3f}"
                console.print(f"{record.arm}, seed {record.seed}: {score}")
        console.print(line(comparison))
        latest = comparison

    yield tell
    if latest:
        console.print(table(latest))


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
