"""The page of the API has every public name."""

import re
from pathlib import Path

import saam

PAGE = Path(__file__).parents[2] / "docs" / "api" / "saam.rst"


def test_the_page_has_every_public_name():
    assert sorted(re.findall(r"^\.\. auto\w+:: (\w+)", PAGE.read_text(), re.MULTILINE)) == sorted(saam.__all__)
