"""Files that are written whole or not at all."""

import os

import pytest

from saam._core.files import check_writable, json_bytes, read_json, writable, write_atomically


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


def test_json_is_read_as_it_was_written_and_has_finite_numbers(tmp_path):
    values = {"a": [1, 2.5, None, "ü"], "b": {"c": True}}
    write_atomically({tmp_path / "a.json": json_bytes(values)})
    assert read_json(tmp_path / "a.json") == values
    assert (tmp_path / "a.json").read_bytes().endswith(b"}\n")
    with pytest.raises(ValueError, match="JSON"):
        json_bytes({"a": float("nan")})
    with pytest.raises(TypeError, match="JSON"):
        json_bytes({"a": object()})


def test_check_writable(tmp_path):
    check_writable(tmp_path / "new" / "folder")
    assert list((tmp_path / "new" / "folder").iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot write to .*file/run \(Not a directory\): choose another folder"):
        check_writable(tmp_path / "file" / "run")
    with pytest.raises(OSError, match=r"cannot write to .*file \(File exists\): choose another folder"):
        check_writable(tmp_path / "file")
    with pytest.raises(OSError, match=r"cannot write to /proc/self .*: choose another folder"):
        check_writable("/proc/self")


def test_folders_that_stay_empty_are_taken_away_again(tmp_path):
    def fail(folder):
        with writable(folder):
            assert folder.is_dir()
            raise KeyboardInterrupt

    (tmp_path / "old").mkdir()
    for folder in (tmp_path / "new" / "folder", tmp_path / "old", tmp_path / "old" / "new"):
        with pytest.raises(KeyboardInterrupt):
            fail(folder)
    assert [path.name for path in tmp_path.rglob("*")] == ["old"]
    with writable(tmp_path / "new" / "folder"):
        (tmp_path / "new" / "folder" / "file").touch()
    assert (tmp_path / "new" / "folder" / "file").is_file()
    with pytest.raises(OSError, match="cannot write to"), writable(tmp_path / "new" / "folder" / "file"):
        pass
