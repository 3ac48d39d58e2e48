"""Where the user's cache folder is."""

import sys
from pathlib import Path

import pytest

from saam.data import cache_folder


def test_the_variable_goes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAAM_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("SAAM_CACHE", "~/mine")
    assert cache_folder() == Path.home() / "mine"


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", "XDG_CACHE_HOME", ".cache"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
        ("darwin", None, "Library/Caches"),
    ],
)
def test_else_it_is_where_the_platform_has_caches(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: str, variable: str | None, expected: str
) -> None:
    monkeypatch.delenv("SAAM_CACHE")
    monkeypatch.setattr(sys, "platform", platform)
    if variable:
        monkeypatch.delenv(variable, raising=False)
    assert cache_folder() == Path.home() / expected / "saam"
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
        assert cache_folder() == tmp_path / "saam"
