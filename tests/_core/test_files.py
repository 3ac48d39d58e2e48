"""Files that are written whole or not at all."""

import os

import pytest

from saam._core.files import write_atomically


def test_all_files_are_written_before_the_first_is_replaced(tmp_path, monkeypatch):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(b"old")
    real, seen = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda file: (real(file), seen.append([path.read_bytes() for path in paths])))
    write_atomically(dict.fromkeys(paths, b"new"))
    assert seen == [[b"old", b"old"]] * 2
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"a": b"new", "b": b"new"}


def test_what_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(_):
        raise OSError("No space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically({tmp_path / "a": b"new"})
    assert list(tmp_path.iterdir()) == []
