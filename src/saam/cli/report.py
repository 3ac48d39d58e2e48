"""``saam report``: write the report of a comparison or a study again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from saam._core.errors import printable
from saam.cli.outputs import newest
from saam.cli.screen import AsJson, print_json, screen
from saam.comparison import Comparison, load_comparison
from saam.comparison.study import Study
from saam.comparison.study_run import study_results
from saam.report import table, verdicts, write_report
from saam.report.answers import answers
from saam.report.by_image import ByImage, by_image
from saam.report.document import document, study_document
from saam.report.examples import comparison_strip
from saam.report.formats import Format, formatted
from saam.report.over_images import over_images
from saam.report.study import study_table, write_study_report

__all__ = ["command", "conclude", "conclude_study"]


def command(
    folder: Path | None = None,
    /,
    *,
    format_: Annotated[Format | None, Parameter(name="--format")] = None,
    as_json: AsJson = False,
) -> None:
    """Print the table of a comparison or a study, finished or not, and write its report.html again.

    Parameters
    ----------
    folder
        Folder of saam compare or saam study. Default: the newest one in this folder.
    format_
        Print only the table of a comparison, for a document: "markdown", "latex" (booktabs), or "csv" with one column
        for each number.
    as_json
        Print only one JSON document on standard output.
    """
    folder = folder or newest("plan.json", "study.json")
    console = screen(errors=as_json)
    if format_:
        if (folder / "study.json").is_file():
            names = ", ".join(sorted(entry.parent.name for entry in folder.glob("*/plan.json")))
            raise ValueError(f"{folder} holds a study: --format takes one of its comparisons, {names}")
        print(formatted(load_comparison(folder), format_), end="")
        return
    if (folder / "study.json").is_file():
        study, results = study_results(folder)
        for name, comparison in results.items():
            conclude(console, folder / name, comparison)
        conclude_study(console, folder, study, results)
        if as_json:
            print_json(study_document(study, results))
        return
    comparison = load_comparison(folder)
    console.print(table(comparison))
    conclude(console, folder, comparison)
    if as_json:
        print_json(document(comparison))


def conclude(console: Console, folder: Path, comparison: Comparison) -> None:
    """Print the verdicts and write report.html. If the score maps cannot be drawn, say why and leave them out."""
    strip, no_strip = None, ""
    try:
        strip = comparison_strip(folder)
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:  # data or networks gone or damaged
        no_strip = f"No pictures of score maps: {error}"
    for sentence in filter(None, [*verdicts(comparison), no_strip]):
        console.print(printable(sentence), soft_wrap=True)
    scores: ByImage = {}
    try:
        scores = by_image(folder, comparison)
    except (OSError, ValueError) as error:  # damaged
        console.print(printable(f"No scores by image: {error}"), style="yellow", soft_wrap=True)
    write_report(
        folder / "report.html",
        comparison,
        strip=strip,
        no_strip=no_strip,
        images=over_images(scores, comparison),
        found=answers(scores, comparison),
    )
    console.print(f"report: {printable(str(folder / 'report.html'))}", soft_wrap=True)


def conclude_study(console: Console, folder: Path, study: Study, results: Mapping[str, Comparison]) -> None:
    """Print the table of a study and write its page."""
    console.print(study_table(results))
    write_study_report(folder / "report.html", study, results)
    console.print(f"report: {printable(str(folder / 'report.html'))}", soft_wrap=True)
