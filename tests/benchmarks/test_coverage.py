"""The page on coverage is what its stored figures say, and the figures are what the simulation gives."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"


@pytest.fixture(scope="module")
def coverage():
    return runpy.run_path(str(ROOT / "benchmarks" / "coverage.py"))


@pytest.fixture(scope="module")
def figures():
    return json.loads((RESULTS / "coverage.json").read_text())


def test_the_page_is_up_to_date(coverage, figures):
    assert (RESULTS / "coverage.md").read_text() == coverage["page"](figures), "run: python benchmarks/coverage.py"


def test_differences_have_mean_zero_and_deviation_one(coverage):
    for draw in coverage["SHAPES"].values():
        d = draw(np.random.default_rng(0), (400_000,))
        assert d.mean() == pytest.approx(0, abs=0.01)
        assert d.std() == pytest.approx(1, abs=0.06)


def test_stored_figures_are_those_of_the_simulation(coverage, figures):
    """The cheap ones, drawn again."""
    for place, (shape, draw) in enumerate(coverage["SHAPES"].items()):
        stored = figures["intervals"][shape]["7"]
        d = draw(np.random.default_rng([place, 7]), (10_000, 7))
        assert coverage["student"](d) == pytest.approx(stored["student"], abs=1e-3)
        assert coverage["bca"](d[:300]) == pytest.approx(stored["bca"], abs=0.07)
        assert coverage["sign_flips"](d[:500]) == pytest.approx(stored["sign-flip"], abs=0.04)
        d = draw(np.random.default_rng([place, 100]), (10_000, coverage["LONGEST"]))
        assert coverage["ever"](d[:2000]) == pytest.approx(figures["anytime"][shape]["1"], abs=0.03)
        assert coverage["peeking"](d) == pytest.approx(figures["anytime"][shape]["peeking"], abs=1e-3)


def test_the_verdicts_hold_what_the_guide_promises(figures):
    for shape in ("normal", "Student t, 3 df"):
        assert all(figures["intervals"][shape][n]["sign-flip"] > 0.94 for n in ("3", "5", "7", "10", "20"))
        assert all(figures["anytime"][shape][real] < 0.05 for real in ("0.5", "1", "2"))
        assert figures["anytime"][shape]["peeking"] > 0.2
    assert [figures["waits"]["1"][effect] for effect in ("1", "1.5", "2")] == [11, 7, 6]
