"""The API has every public name, and API and design have every room."""

import re
from pathlib import Path

import saam

PAGES = Path(__file__).parents[2] / "docs" / "api"
INTERNAL = {"_core", "cli"}


def test_the_page_has_every_public_name():
    names = re.findall(r"^\.\. auto\w+:: (\w+)", (PAGES / "saam.rst").read_text(), re.MULTILINE)
    assert sorted(names) == sorted(saam.__all__)


def test_every_room_has_a_page_and_a_row():
    rooms = {folder.parent.name for folder in Path(saam.__file__).parent.glob("*/__init__.py")} - INTERNAL
    assert {f"saam.{room}.rst" for room in rooms} == {page.name for page in PAGES.glob("saam.*.rst")}
    index = (PAGES / "index.md").read_text()
    assert [room for room in rooms if f"| [saam.{room}](saam.{room}.rst) |" not in index] == []
    design = (PAGES.parent / "design.md").read_text()
    assert [room for room in rooms | INTERNAL if f"| `{room}` |" not in design] == []
