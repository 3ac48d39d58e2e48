"""The benchmark of exports runs, and its ratios are ratios."""

import re
import runpy
from pathlib import Path

SCRIPT = str(Path(__file__).parents[2] / "benchmarks" / "export.py")


def test_rows(tmp_path, monkeypatch):
    scope = runpy.run_path(SCRIPT)
    rows = scope["rows"]
    monkeypatch.setitem(rows.__globals__, "ARMS", ("none",))
    (line,) = rows("resnet8", 16, tmp_path, 2)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:2] == ["resnet8, 16 px", "none"]
    assert len(cells) == 2 + len(scope["HEADINGS"])
    assert cells[5] == "1.00 [1.00, 1.00]"
    for cell in cells[2:8]:
        middle, low, high = map(float, re.findall(r"\d+\.\d+", cell))
        assert 0 < low <= middle <= high
    assert 0 < float(cells[9]) < float(cells[8])
