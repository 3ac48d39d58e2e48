"""All comparisons of a study: a table for the terminal, and one page with links to their reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from saam._core.files import write_atomically
from saam._version import __version__
from saam.comparison import Comparison
from saam.comparison.cells import CellsSummary, mean_scores, summarise_cells
from saam.comparison.metrics import Metric
from saam.comparison.study import Study
from saam.report.overview import Overview, overview
from saam.report.page import environment
from saam.report.setting import setting
from saam.report.words import MISSING, failed_runs, interval, listed, named, number, p_value, signed

__all__ = ["StudyView", "study_html", "study_table", "study_view", "write_study_report"]


@dataclass(frozen=True)
class StudyView:
    """All comparisons of a study.

    Attributes:
        metric: The primary metric.
        cells: The overview of each comparison by name.
        titles: The title of each comparison.
        arms: Labels, best average rank first as far as ranks are known.
        focus: Label of the arm that the report is about.
        summary: Summary over all comparisons with runs of every arm; None if there is none.
        failures: One sentence for each comparison with failed runs.
    """

    metric: Metric
    cells: Mapping[str, Overview]
    titles: Mapping[str, str]
    arms: tuple[str, ...]
    focus: str
    summary: CellsSummary | None
    failures: tuple[str, ...]

    @property
    def finding(self) -> str:
        """The joint result of the comparisons, in one sentence."""
        summary = self.summary
        if summary is None or not summary.arms:
            return "No comparison has a run of every arm yet"
        best, count = summary.arms[0], len(summary.cells)
        leaders = [named(arm.arm) for arm in summary.arms if arm.rank == best.rank]
        have = "has" if len(leaders) == 1 else "share"
        text = f"{listed(leaders)} {have} the best average rank, {number(best.rank, 1)} of {len(summary.arms)} arms"
        if count == 1:
            return f"{text}, in a single comparison"
        difference = "differ" if summary.p < 0.05 else "cannot be told apart"
        return f"{text}; over {count} comparisons the arms {difference} (Friedman, p {_equals(p_value(summary.p))})"


def study_view(results: Mapping[str, Comparison]) -> StudyView:
    """Summarise the comparisons of a study, finished or not.

    Args:
        results: One or more comparisons by name.
    """
    first = next(iter(results.values())).plan
    metric = first.metrics[0]
    scores = {name: mean_scores(comparison.records, metric) for name, comparison in results.items()}
    known = any(first.reference in each for each in scores.values())
    summary = summarise_cells(scores, metric=metric, reference=first.reference) if known else None
    ranked = [each.arm for each in summary.arms] if summary else []
    planned = dict.fromkeys(arm for comparison in results.values() for arm in comparison.plan.arms)
    failures = [
        f"{name}: {failed_runs(comparison.failures, len(comparison.plan.schedule()))}"
        for name, comparison in results.items()
        if comparison.failures
    ]
    return StudyView(
        metric=metric,
        cells={name: overview(comparison) for name, comparison in results.items()},
        titles={name: setting(comparison).title for name, comparison in results.items()},
        arms=tuple(dict.fromkeys([*ranked, *planned])),
        focus=first.focus,
        summary=summary,
        failures=tuple(failures),
    )


def study_table(results: Mapping[str, Comparison]) -> Table:
    """Tabulate the arms: average rank, mean difference over all comparisons, and the score in each."""
    view = study_view(results)
    table = Table(title=Text(f"{view.finding}."), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("arm", no_wrap=True)
    reference = next(iter(view.cells.values())).reference
    for name in ("rank", f"vs {reference}", *view.cells):
        table.add_column(Text(name), justify="right")
    for row in _rows(view):
        cells = (row.difference, *row.scores)
        table.add_row(Text(row.arm, "bold"), row.rank, *(_two_lines(cell) for cell in cells))
    if view.failures:
        table.caption, table.caption_justify = Text("\n".join(view.failures), "red"), "left"
    return table


def study_html(study: Study, results: Mapping[str, Comparison]) -> str:
    """Return a study, finished or not, as a page that only links to the report of each comparison."""
    view = study_view(results)
    return (
        environment()
        .get_template("study.html.j2")
        .render(study=study, view=view, rows=_rows(view), results=results, version=__version__)
    )


def write_study_report(path: str | Path, study: Study, results: Mapping[str, Comparison]) -> None:
    """Write the page of `study_html` to a file atomically."""
    write_atomically({Path(path): study_html(study, results).encode()})


@dataclass(frozen=True)
class _Cell:
    """A figure, what stands below it, and the verdict that colours that."""

    first: str
    second: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class _Row:
    """One arm: average rank, mean difference with its interval, and its score in each comparison."""

    arm: str
    rank: str
    difference: _Cell
    scores: tuple[_Cell, ...]


def _two_lines(cell: _Cell) -> Text:
    return Text(cell.first).append(f"\n{cell.second}", "dim") if cell.second else Text(cell.first)


def _rows(view: StudyView) -> list[_Row]:
    over = {each.arm: each for each in view.summary.arms} if view.summary else {}
    digits = view.metric.digits
    rows = []
    for arm in view.arms:
        scores = []
        for cell in view.cells.values():
            row = next((row for row in cell.rows if row.arm == arm), None)
            score = row.scores.get(view.metric.name) if row else None
            told = row.differences.get(view.metric.name) if row else None
            text = MISSING if score is None else number(score.mean, digits)
            scores.append(
                _Cell(text, f"{signed(told.mean, digits)}, {told.verdict}", told.verdict) if told else _Cell(text)
            )
        mean = over.get(arm)
        alone = mean is None or arm == (view.summary.reference if view.summary else "")
        single = len(view.summary.cells) == 1 if view.summary else True
        below = "" if single or mean is None else interval(mean, digits)
        difference = _Cell("") if alone or mean is None else _Cell(signed(mean.mean, digits), below)
        rows.append(_Row(arm, number(mean.rank, 1) if mean else MISSING, difference, tuple(scores)))
    return rows


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"
