"""``saam report``: the report of a comparison anew."""

from pathlib import Path

from saam.cli.screen import screen
from saam.comparison import load_comparison
from saam.explain.examples import comparison_strip
from saam.report import table, verdicts, write_report

__all__ = ["command"]


def command(folder: Path = Path("saam-comparison"), /) -> None:
    """Print the table of a comparison, finished or not, and write its report.html anew.

    Parameters
    ----------
    folder
        Where saam compare kept the comparison.
    """
    comparison = load_comparison(folder)
    console = screen()
    console.print(table(comparison))
    for sentence in verdicts(comparison):
        console.print(sentence, soft_wrap=True)
    write_report(folder / "report.html", comparison, strip=comparison_strip(folder))
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True)
