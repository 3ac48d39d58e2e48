"""The page of networks is what its command writes, and a network that it lacks is told."""

import runpy
from pathlib import Path

import pytest

from networks import names

PAGE = Path(__file__).parents[2] / "docs" / "zoo.md"


@pytest.fixture
def zoo(monkeypatch):
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    return runpy.run_path(str(PAGE.with_suffix(".py")))


def test_the_page_is_up_to_date(zoo):
    assert zoo["fault"](PAGE.read_text()) == ""


def test_a_row_that_is_missing_or_moved_is_told(zoo):
    text = PAGE.read_text()
    row = next(line for line in text.splitlines(keepends=True) if "`timm:resnet18`" in line)
    assert zoo["fault"](text.replace(row, "")).endswith("lacks timm:resnet18: run python docs/zoo.py timm:resnet18")
    assert zoo["fault"](text.replace("passes", "fails", 1)).startswith("docs/zoo.md is not what")
    assert zoo["fault"](text.replace(row, "") + row).startswith("docs/zoo.md is not what")


def test_a_page_comes_apart_and_together_again(zoo):
    made, lines = zoo["parts"](PAGE.read_text())
    assert list(lines) == names()
    assert made.startswith("- `python docs/zoo.py`")
    assert zoo["page"](made, dict(reversed(lines.items()))) == PAGE.read_text()
