import csv
import io
import re
from dataclasses import replace

import pytest

from report.fakes import comparison, first, plan, record
from saam.comparison import Comparison
from saam.report.formats import formatted
from saam.report.overview import overview


def rows_of(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def test_markdown_has_the_figures_of_the_table() -> None:
    header, ruler, *rows = rows_of(formatted(comparison(seeds=8), "markdown"))
    assert header[:5] == ["arm", "seeds", "accuracy (%)", "vs none", "p (Holm)"]
    assert set("".join(ruler)) <= set("-:|")
    assert [row[0] for row in rows] == [*comparison().plan.arms]
    assert rows[0][-1] == "reference"
    assert all(re.fullmatch(r"\d\d\.\d\d \(\d\d\.\d\d to \d\d\.\d\d\)", row[2]) for row in rows)
    assert len({len(row) for row in rows}) == 1


def test_a_verdict_has_its_confidence_sequence_or_how_many_seeds_it_needs() -> None:
    planned = plan(arms=("none", "se", "saam"), seeds=12)
    gains = {"none": 0.0, "se": 0.01, "saam": 2.0}
    runs = [record(arm, seed, 80.0 + gains[arm] * (1 + 0.1 * (seed % 3 - 1)), 0.5) for arm, seed in planned.schedule()]
    whole = Comparison(planned, tuple(runs), ())
    _, _, none, _, saam = rows_of(formatted(whole, "markdown"))
    assert (none[-1], saam[-1].split(" (")[0]) == ("reference", "better")
    (found,) = (each for each in overview(whole).to_reference["accuracy"] if each.arm == "saam")
    assert saam[-1] == f"better ({found.evidence.low:.2f} to {found.evidence.high:.2f})"
    assert 0 < found.evidence.low < 2.0 < found.evidence.high
    fewer = replace(whole, records=whole.records[:6])
    assert re.fullmatch(r"cannot tell yet \(about \d+ more seeds\)", rows_of(formatted(fewer, "markdown"))[-1][-1])


def test_latex_compiles_as_a_tabular_and_escapes() -> None:
    planned = plan(arms=("none", "eca,squeeze=mean_max_100%"[:16]), seeds=2)
    runs = tuple(record(arm, seed, 80.0 + seed, 0.5) for arm, seed in planned.schedule())
    text = formatted(Comparison(planned, runs, ()), "latex")
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
    lines = [line for line in body.splitlines() if line.endswith(r"\\")]
    columns = re.search(r"\\begin\{tabular\}\{(l r*|lr+)\}", text)
    assert columns is not None
    assert all(len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1 for line in lines)
    assert len(lines) == 3
    assert r"accuracy (\%)" in lines[0]
    assert not re.search("[\N{MINUS SIGN}\N{MULTIPLICATION SIGN}\N{NO-BREAK SPACE}]", text)


def test_csv_has_plain_numbers() -> None:
    whole = comparison(seeds=8)
    rows = list(csv.DictReader(io.StringIO(formatted(whole, "csv"))))
    assert [row["arm"] for row in rows] == list(whole.plan.arms)
    accuracies = [run.test["accuracy"] for run in whole.records if run.arm == "se"]
    assert float(rows[1]["accuracy_mean"]) == pytest.approx(sum(accuracies) / 8)
    assert float(rows[1]["accuracy_difference_p_holm"]) <= 1
    assert rows[0]["accuracy_difference_mean"] == ""
    assert rows[1]["accuracy_verdict"] in ("better", "worse", "equivalent", "cannot tell yet")
    assert float(rows[2]["train_step_ratio"]) > 0


def test_further_scores_are_columns() -> None:
    planned = plan(arms=("none", "se"), seeds=1)
    runs = [record(arm, seed, 80.0, 0.5) for arm, seed in planned.schedule()]
    runs = [replace(run, test={**run.test, "top5": 97.5, "calibration": 2.5}) for run in runs]
    whole = Comparison(planned, tuple(runs), (), classes=10)
    row = next(csv.DictReader(io.StringIO(formatted(whole, "csv"))))
    assert (row["top5"], row["calibration"]) == ("97.5", "2.5")


@pytest.mark.parametrize("kind", ["markdown", "latex", "csv"])
@pytest.mark.parametrize("runs", [0, 1, 3])
def test_unfinished_comparisons_have_empty_cells(kind: str, runs: int) -> None:
    text = formatted(first(comparison(seeds=8), runs), kind)  # type: ignore[arg-type]
    assert "saam" in text
    assert "nan" not in text.lower()
    assert text.endswith("\n")


def test_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of the formats markdown, latex, csv, got 'docx'"):
        formatted(comparison(), "docx")  # type: ignore[arg-type]
