"""What is released names one version."""

import re
import tomllib
from pathlib import Path

import saam

ROOT = Path(__file__).parents[1]


def test_all_versions_are_equal():
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    native = tomllib.loads((ROOT / "native" / "pyproject.toml").read_text())
    assert citation is not None
    assert citation[1] == saam.__version__
    assert native["project"]["version"] == saam.__version__


def test_the_install_page_lists_every_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    page = (ROOT / "docs" / "install.md").read_text()
    assert [extra for extra in extras if f"| `{extra}` |" not in page] == []
