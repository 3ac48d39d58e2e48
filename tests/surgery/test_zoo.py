"""Thirty of the networks of benchmarks/zoo.py, one of each kind of architecture."""

import importlib.util
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[2] / "benchmarks" / "zoo.py"
_SPEC = importlib.util.spec_from_file_location("zoo", _PATH)
zoo = importlib.util.module_from_spec(_SPEC)
sys.modules["zoo"] = zoo
_SPEC.loader.exec_module(zoo)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", zoo.SAMPLE.split())
def test_surgery(name: str) -> None:
    row = zoo.check(name, export=False)
    assert row.failures == []
    assert row.attached > 0
    assert row.difference == "none"


def test_the_sample_is_of_the_zoo() -> None:
    assert len(zoo.SAMPLE.split()) == 30
    assert set(zoo.SAMPLE.split()) <= set(zoo.names())
