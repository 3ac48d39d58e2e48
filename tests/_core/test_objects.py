"""The source of the user's own code, as far as it is in one file, is part of what a run is."""

import importlib
import linecache
import sys

import pytest

from saam._core.objects import source_hash

FILE = """
from functools import partial

WIDTH = 8
OTHER = 1
DEPTHS = [1, 2]
RATES = {}
RATES["lr"] = 0.1
if WIDTH:
    SCALE = 3
try:
    helper = len
except NameError:
    def helper(x):
        return 0

def twice(x):
    return 2 * x

@partial(partial, twice)
def decorated(x):
    return x

def task(x, rate=OTHER, *, WIDTH=WIDTH):
    def inner(SCALE):
        return SCALE
    return [inner(x) for SCALE in range(SCALE)], RATES, helper(x)

class Base:
    size = WIDTH

class Net(Base):
    def forward(self, x, OTHER=None):
        depth = DEPTHS
        return twice(x), depth

made = partial(Net)

if __name__ == "__main__":
    WIDTH = 9
"""


@pytest.fixture
def hashed(tmp_path, monkeypatch):
    """Return the hash of a name in the file, after replacing a text in it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def build(name, old="WIDTH", new="WIDTH"):
        assert old in FILE
        (tmp_path / "own_file.py").write_text(FILE.replace(old, new, 1))
        monkeypatch.delitem(sys.modules, "own_file", raising=False)
        importlib.invalidate_caches()
        linecache.clearcache()
        return source_hash(f"own_file:{name}")

    yield build
    sys.modules.pop("own_file", None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("WIDTH = 8", "WIDTH = 16"),  # through the base class
        ("DEPTHS = [1, 2]", "DEPTHS = [1, 3]"),
        ("2 * x", "3 * x"),  # of a function that a method calls
        ("depth = DEPTHS", "depth = DEPTHS[0]"),
    ],
)
@pytest.mark.parametrize("name", ["Net", "made"])
def test_what_an_object_uses_in_its_file_is_part_of_its_hash(hashed, name, old, new):
    assert hashed(name, old, new) != hashed(name)


@pytest.mark.parametrize(
    ("old", "new"), [("OTHER = 1", "OTHER = 2"), ("    WIDTH = 9", "    WIDTH = 10"), ("\n\n", "\n# words\n")]
)
def test_what_it_does_not_use_is_not(hashed, old, new):
    assert hashed("Net", old, new) == hashed("Net")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("OTHER = 1", "OTHER = 2"),  # a default
        ("WIDTH = 8", "WIDTH = 16"),
        ("SCALE = 3", "SCALE = 4"),  # a name that is also local
        ('RATES["lr"] = 0.1', 'RATES["lr"] = 0.2'),
        ("return 0", "return 1"),
    ],
)
def test_names_may_be_local_too_and_set_in_any_way(hashed, old, new):
    assert hashed("task", old, new) != hashed("task")


def test_an_edit_while_the_module_stays_imported_does_not_count(hashed, tmp_path):
    before = hashed("Net")
    (tmp_path / "own_file.py").write_text(FILE.replace("WIDTH = 8", "WIDTH = 16"))
    linecache.clearcache()
    assert source_hash("own_file:Net") == before


def test_decorators_count(hashed):
    assert hashed("decorated", "partial, twice", "partial, str") != hashed("decorated")


def test_what_has_no_source_has_its_name():
    assert source_hash("math:sqrt") == source_hash("math:sqrt") != source_hash("math:sin")
