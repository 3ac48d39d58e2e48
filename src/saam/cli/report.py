"""``saam report``: write the report of a comparison again."""

from pathlib import Path

from rich.console import Console

from saam._core.errors import printable
from saam.cli.outputs import newest
from saam.cli.screen import screen
from saam.comparison import Comparison, load_comparison
from saam.report import table, verdicts, write_report
from saam.report.examples import comparison_strip
from saam.report.over_images import over_images

__all__ = ["command", "conclude"]


def command(folder: Path | None = None, /) -> None:
    """Print the table of a comparison, finished or not, and write its report.html again.

    Parameters
    ----------
    folder
        Folder of the comparison. Default: the newest one in this folder.
    """
    folder = folder or newest("plan.json")
    comparison = load_comparison(folder)
    console = screen()
    console.print(table(comparison))
    conclude(console, folder, comparison)


def conclude(console: Console, folder: Path, comparison: Comparison) -> None:
    """Print the verdicts and write report.html. If the score maps cannot be drawn, say why and leave them out."""
    strip, no_strip = None, ""
    try:
        strip = comparison_strip(folder)
    except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:  # data or networks gone or damaged
        no_strip = f"No pictures of score maps: {error}"
    for sentence in filter(None, [*verdicts(comparison), no_strip]):
        console.print(printable(sentence), soft_wrap=True)
    images = over_images(folder, comparison)
    write_report(folder / "report.html", comparison, strip=strip, no_strip=no_strip, images=images)
    console.print(f"report: {printable(str(folder / 'report.html'))}", soft_wrap=True)
