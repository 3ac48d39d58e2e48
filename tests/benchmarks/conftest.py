"""The folder of a script is on the path, as if the script were run."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
