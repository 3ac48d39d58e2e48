"""Data sets by name."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from saam.data import data_record, list_data, load_data

MakeFolder = Callable[..., Path]


def test_every_record_has_a_loader_and_a_line() -> None:
    import pkgutil

    for name in list_data():
        record = data_record(name)
        assert callable(pkgutil.resolve_name(record.loader))
        assert record.description
        assert "\n" not in record.description


def test_unknown_names_have_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown data set 'cifar-10': did you mean 'cifar10'.*known: photo-digits, "):
        load_data("cifar-10")
    with pytest.raises(ValueError, match="unknown data set 'foldr:pets': did you mean 'folder:'"):
        load_data("foldr:pets")


def test_a_kind_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="'hub:' names no place; expected hub:OWNER/NAME"):
        load_data("hub:")


def test_unknown_options_have_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'photo-digits' has no option 'distractor': did you mean 'distractors'"):
        load_data("photo-digits", distractor=3)
    with pytest.raises(TypeError, match=r"'folder:' has no option 'root': .*it takes size, validation"):
        load_data(f"folder:{tmp_path}", root=tmp_path)


def test_a_path_of_a_folder_is_a_name(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_folder({"a": 5, "b": 5})
    monkeypatch.chdir(path.parent)
    splits = load_data("pets")
    assert splits.name == "folder:pets"
    assert splits.fingerprint == load_data("folder:pets").fingerprint == load_data(f"folder:{path}").fingerprint


def test_size_seed_root_and_limit_reach_the_data(make_folder: MakeFolder, tmp_path: Path) -> None:
    options: dict[str, Any] = {"train": 30, "validation": 8, "test": 8, "root": tmp_path / "here"}
    splits = load_data("photo-digits", size=36, limit=10, **options)
    assert splits.train.shape == (36, 36)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [10, 8, 8]
    assert len(list((tmp_path / "here").iterdir())) == 1
    assert load_data("photo-digits", seed=1, **options).fingerprint != load_data("photo-digits", **options).fingerprint


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "saam.data.photo_digits", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"photo-digits data need sklearn.datasets: pip install 'saam\[data\]'"
    ):
        load_data("photo-digits")


def test_importing_saam_data_imports_no_optional_package() -> None:
    optional = ("sklearn", "torchvision", "pyarrow", "PIL", "huggingface_hub")
    code = f"import sys, saam.data; print([m for m in {optional} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
