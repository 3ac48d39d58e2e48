"""``saam explain --measure``: measure the maps of a run and show the result."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from saam._core.errors import printable
from saam._core.files import writable, write_atomically
from saam.cli.screen import screen
from saam.explain.attribution import WHY_NO_GRAD_CAM
from saam.explain.figure import GENERATOR
from saam.explain.trust import MEASURES
from saam.report.trust import measure_run, trust_text

__all__ = ["measure_trust", "require_own"]

_IMAGES = 100
_HEAD = 1024  # bytes of a file that say what wrote it
_MARKS = {"better": "+", "worse": "-"}
_LEGEND = "+ better than both floors (uniform, centre), - worse than one of them; ± half the 95 % interval"


def measure_trust(
    folder: Path, *, arm: str | None, seed: int | None, data: str | None, images: int | None, out: Path | None
) -> None:
    """Measure, print a table, and write a record if ``out`` names one.

    Raises:
        FileNotFoundError, ValueError: As `saam.report.trust.measure_run`.
        FileExistsError: If saam explain did not write the file that is there.
    """
    if out:
        require_own(out)
    console, status = screen(), screen(errors=True)
    if not status.is_terminal:
        status.print("measuring: about a second for each image and map; ROAD takes longer on large images")
    with status.status("measuring") as shown:
        document = measure_run(
            folder,
            arm=arm,
            seed=seed,
            data=data,
            images=images or _IMAGES,
            progress=lambda line: shown.update(printable(line)),
        )
    _show(console, document)
    if out:
        with writable(out.parent):
            write_atomically({out: trust_text({"made by": GENERATOR, **document}).encode()})
        console.print(f"record: {printable(str(out))}", soft_wrap=True)


def require_own(file: Path) -> None:
    """Raise an error if a file exists that saam explain did not write.

    Raises:
        FileExistsError: If there is such a file.
    """
    if file.exists() and GENERATOR.encode() not in file.read_bytes()[:_HEAD]:
        raise FileExistsError(f"{file} exists, and saam explain did not write it: choose another --out or remove it")


def _show(console: Console, document: dict[str, Any]) -> None:
    seeds = f"seed{'s' * (len(document['seeds']) > 1)} {', '.join(map(str, document['seeds']))}"
    console.print(printable(f"{document['run']}: {document['images']} test images, {seeds}"), soft_wrap=True)
    rows = {(row["measure"], row["method"]): row for row in document["rows"]}
    if all(method != "Grad-CAM" for _, method in rows):
        console.print(WHY_NO_GRAD_CAM, soft_wrap=True)
    for floored in (True, False):
        measures = [measure for measure in MEASURES if measure.floored is floored]
        measures = [measure for measure in measures if any(measure.name == name for name, _ in rows)]
        table = Table(box=None, pad_edge=False)
        table.add_column("map")
        for measure in measures:
            table.add_column(f"{measure.name}\n({measure.better})", justify="right")
        for method in dict.fromkeys(method for name, method in rows if (name, method) in rows):
            cells = [_cell(rows.get((measure.name, method))) for measure in measures]
            if any(cells):
                table.add_row(method, *cells)
        console.print()
        console.print(table)
        if floored:
            console.print(_LEGEND, style="dim", soft_wrap=True)
    for measure in MEASURES:
        if any(measure.name == name for name, _ in rows):
            console.print(f"{measure.name}: {measure.meaning}", style="dim", soft_wrap=True)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    mean, low, _ = row["value"]
    half = "" if low is None else f" ±{mean - low:.2f}"
    return f"{mean:.2f}{half} {_MARKS.get(row['verdict'], ' ')}"
