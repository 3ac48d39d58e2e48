"""How far can the maps be trusted? The page docs/results/trust.md, from records beside it.

    python benchmarks/trust.py           write docs/results/trust.md
    python benchmarks/trust.py --check   fail if the page is not what its records say

A record, docs/results/trust/NAME.json, is what `saam explain RUN --measure --out NAME.json` wrote. What the page says
in words is in docs/results/trust/words.txt: text, with {tables} where the tables stand.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saam.explain.trust import MEASURES, Measure

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "results"
MINUS = "\N{MINUS SIGN}"
MARKS = {"better": " **+**", "worse": f" **{MINUS}**"}


def page() -> str:
    """Return the text of the page."""
    sections = [section(file.stem, json.loads(file.read_text())) for file in sorted((FOLDER / "trust").glob("*.json"))]
    made = "<!-- Made by benchmarks/trust.py from the records in trust/; edit trust/words.txt, not this page. -->\n\n"
    words = (FOLDER / "trust" / "words.txt").read_text()
    return made + words.replace("{tables}", "\n".join(sections).strip())


def section(name: str, record: Mapping[str, Any]) -> str:
    """Return heading, circumstances and tables of one record; its name is a number and the heading, with dashes."""
    seeds = ", ".join(map(str, record["seeds"]))
    accuracy = ", ".join(f"{100 * value:.1f}" for value in record["accuracy"])
    lines = [
        f"### {name.partition('-')[2].replace('-', ' ')}",
        "",
        f"{record['run']}: {record['images']} {record['data']} test images, seeds {seeds} with an accuracy of "
        f"{accuracy} % on these images; {record['seconds']} seconds, torch {record['torch']}.",
        "",
    ]
    for floored in (True, False):
        found = {row["measure"] for row in record["rows"]}
        lines += [*table(record["rows"], [m for m in MEASURES if m.floored is floored and m.name in found]), ""]
    return "\n".join(lines)


def table(rows: Sequence[Mapping[str, Any]], measures: Sequence[Measure]) -> list[str]:
    """Return the table of some measures: a row for each kind of map."""
    cells = {(row["measure"], row["method"]): cell(row) for row in rows}
    names = [measure.name for measure in measures]
    methods = list(dict.fromkeys(row["method"] for row in rows if row["measure"] in names))
    return [
        f"| map | {' | '.join(f'{measure.name} ({measure.better})' for measure in measures)} |",
        f"|---|{'---:|' * len(measures)}",
        *(f"| {method} | {' | '.join(cells.get((name, method), '') for name in names)} |" for method in methods),
    ]


def cell(row: Mapping[str, Any]) -> str:
    """Return mean, interval, and the mark of the verdict."""
    mean, low, high = (value if value is None else round(value, 2) + 0.0 for value in row["value"])  # no -0.00
    interval = "" if low is None or low == high else f" ({low:.2f} to {high:.2f})"
    return f"{mean:.2f}{interval}".replace("-", MINUS) + MARKS.get(row["verdict"], "")


def main() -> None:
    """Write the page, or check it."""
    path, text = FOLDER / "trust.md", page()
    if "--check" not in sys.argv[1:]:
        path.write_text(text)
    elif not path.is_file() or path.read_text() != text:
        sys.exit(f"{path} is not what its records say; run: python benchmarks/trust.py")


if __name__ == "__main__":
    main()
