"""The pictures of the concepts can be drawn again, and the page shows all of them."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_pictures_are_drawn_and_shown(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "agg")
    pictures = runpy.run_path(str(DOCS / "pictures.py"))
    pictures["draw"](tmp_path)
    drawn = sorted(file.name for file in tmp_path.iterdir())
    assert drawn == sorted(file.name for file in (DOCS / "pictures").iterdir())
    page = (DOCS / "concepts.md").read_text()
    assert [name for name in drawn if f"(pictures/{name})" not in page] == []
