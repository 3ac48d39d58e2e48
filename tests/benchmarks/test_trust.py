"""The page on trust is what its records say."""

import json
import runpy
from pathlib import Path

import pytest

from saam.explain.trust import MEASURES

MINUS = "\N{MINUS SIGN}"
ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "benchmarks" / "trust.py"))


def test_the_page_is_up_to_date(script):
    assert (RESULTS / "trust.md").read_text() == script["page"](), "run: python benchmarks/trust.py"


def test_cells_have_mean_interval_and_mark(script):
    def cell(value, verdict):
        return script["cell"]({"value": value, "verdict": verdict})

    assert cell([-0.123, -0.2, 0.05], "better") == f"{MINUS}0.12 ({MINUS}0.20 to 0.05) **+**"
    assert cell([1.0, 1.0, 1.0], "worse") == f"1.00 **{MINUS}**"
    assert cell([0.5, None, None], "open") == "0.50"
    assert cell([-0.001, -0.02, 0.02], "") == f"0.00 ({MINUS}0.02 to 0.02)"


def test_tables_have_a_column_for_each_measure_and_a_row_for_each_map(script):
    rows = [
        {"measure": "ROAD", "method": method, "value": [0.5, 0.4, 0.6], "verdict": ""} for method in ("mine", "uniform")
    ]
    made = script["table"](rows, [measure for measure in MEASURES if measure.name in ("ROAD", "deletion")])
    assert made[0] == "| map | deletion (lower) | ROAD (higher) |"
    assert made[2:] == ["| mine |  | 0.50 (0.40 to 0.60) |", "| uniform |  | 0.50 (0.40 to 0.60) |"]


def test_records_are_of_several_seeds():
    records = [json.loads(file.read_text()) for file in (RESULTS / "trust").glob("*.json")]
    assert records
    assert all(len(record["seeds"]) >= 3 and record["images"] >= 100 for record in records)
