"""The benchmark of the fused operations runs, and its ratios are ratios."""

import re
import runpy
import sys
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("timm")
FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.setattr("sys.path", [str(FOLDER), *sys.path])
    return runpy.run_path(str(FOLDER / "fused.py"))


def test_medians_leave_out_the_warm_up(benchmark, monkeypatch):
    calls, now = [], [0.0]
    durations = {"a": iter([100, 100, 1, 5, 2]), "b": iter([100, 100, 7, 9, 8])}
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def work(name):
        calls.append(name)
        now[0] += next(durations[name])

    found = benchmark["medians"]({name: partial(work, name) for name in durations}, 3)
    assert calls == ["a", "b"] * 5
    assert found == {"a": 2, "b": 8}


def test_network_table_is_relative_to_timm(benchmark):
    lines = benchmark["network_table"](4, 2).splitlines()
    assert len(lines) == 4
    for line in lines[2:]:
        reference, *others = (float(cell) for cell in re.findall(r"\d+\.\d{3}", line))
        assert reference == 1
        assert len(others) == 3
        assert min(others) > 0


def test_peak_memory_grows_with_the_map(benchmark):
    peak = benchmark["peak_of"]("SAAM")
    maps = 4 * 16 * 256 * 56 * 56 / 1024
    assert peak > 4 * maps  # x, its gradient, dy, y
