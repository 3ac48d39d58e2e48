"""Every command line on a page is one that the command takes."""

import re
import shlex
from pathlib import Path

import pytest

from saam.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
WORDS = {
    str(page.relative_to(ROOT)): re.findall(
        r"^ {4}saam (.+)$|`saam ((?:compare|study|train|report|explain|profile|export|page|list) [^`]+)`",
        page.read_text(),
        re.M,
    )
    for page in PAGES
}
LINES = [(page, " ".join((first or second).split())) for page, found in WORDS.items() for first, second in found]


def test_pages_have_command_lines() -> None:
    assert len(LINES) > 10


@pytest.mark.parametrize(("page", "line"), LINES)
def test_command_lines_are_understood(page: str, line: str) -> None:
    words = [word for word in shlex.split(line.partition(" #")[0]) if word not in ("...", "…")]
    app.parse_args(words, exit_on_error=False, print_error=False)
