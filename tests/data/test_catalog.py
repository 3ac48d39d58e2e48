"""Data sets by name."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from saam.data import (
    Images,
    Pools,
    catalog,
    data_options,
    data_record,
    list_data,
    load_data,
    load_kept_data,
    register_data,
    resolve_name,
)

MakeFolder = Callable[..., Path]


def test_every_record_has_a_loader_and_a_line() -> None:
    import pkgutil

    for name in list_data():
        record = data_record(name)
        assert callable(pkgutil.resolve_name(record.loader) if isinstance(record.loader, str) else record.loader)
        assert record.description
        assert "\n" not in record.description


def test_unknown_names_have_the_nearest() -> None:
    neither = "there is neither a folder '{}' here nor a data set of that name: did you mean '{}'"
    with pytest.raises(ValueError, match=neither.format("cifar-10", "cifar10") + ".*known: photo-digits, "):
        load_data("cifar-10")
    with pytest.raises(ValueError, match=neither.format("foldr:pets", "folder:")):
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
    assert splits.name == f"folder:{path}"
    assert splits.fingerprint == load_data("folder:pets").fingerprint == load_data(f"folder:{path}").fingerprint


def test_a_folder_has_one_name_from_any_directory(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = make_folder({"a": 1, "b": 1})
    make_folder({"a": 1}, name="a:b")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "train-0.parquet").touch()
    (tmp_path / "link").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    names = {resolve_name(name) for name in ("pets", "./pets/", "tables/../pets", "link", "folder:pets", str(path))}
    assert names == {f"folder:{path}"}
    monkeypatch.chdir(path)
    assert resolve_name(".") == resolve_name("../pets") == resolve_name(f"folder:{path}") == f"folder:{path}"
    assert resolve_name("../a:b") == f"folder:{tmp_path / 'a:b'}"
    assert resolve_name("../tables") == resolve_name("parquet:../tables") == f"parquet:{tmp_path / 'tables'}"
    for name in ("photo-digits", "hub:a", "hub:owner/name", "folder:none", "folder:", "none", ""):
        assert resolve_name(name) == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": "abc"}, "data: size must be a whole number, got 'abc'"),
        ({"size": 32.0}, "data: size must be a whole number, got 32.0"),
        ({"limit": "abc"}, "data: limit must be a whole number, got 'abc'"),
        ({"validation": "nan"}, "data: validation must be a number, got 'nan'"),
        ({"test": True}, "data: test must be a number, got True"),
        ({"skip_corrupt": 1}, "data: skip_corrupt must be true or false, got 1"),
        ({"label": 3}, "data: label must be a text, got 3"),
        ({"seed": "1"}, "data: seed must be a whole number, got '1'"),
    ],
)
def test_options_of_the_wrong_type_are_named(make_folder: MakeFolder, options: dict[str, Any], message: str) -> None:
    path = make_folder({"a": 5, "b": 5})
    with pytest.raises(TypeError, match=message):
        load_data(str(path), **options)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_out_of_range_are_refused(make_folder: MakeFolder, seed: int) -> None:
    with pytest.raises(ValueError, match=f"data: seed must be 0 or above, and below 2.*63, got {seed}"):
        load_data(str(make_folder({"a": 5, "b": 5})), seed=seed)


def test_whole_numbers_are_numbers(make_folder: MakeFolder) -> None:
    splits = load_data(str(make_folder({"a": 5, "b": 5})), test=2, validation=1, label="mine", limit=1)
    assert (len(splits.train), splits.label) == (1, "mine")
    with pytest.raises(TypeError, match="data: digit_size must be a tuple, got 12"):
        load_data("photo-digits", digit_size=12)


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


def load_noise(*, count: int = 60, classes: int = 3, seed: int = 0, root: str | None = None) -> Pools:
    """Images of noise."""
    pixels = torch.randint(0, 256, (count, 3, 8, 8), generator=torch.Generator().manual_seed(seed))
    return Pools(train=Images(pixels.byte(), torch.arange(count) % classes), classes=list("abcdef")[:classes])


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "_RECORDS", dict(catalog._RECORDS))


@pytest.mark.usefixtures("registry")
def test_a_registered_data_set_is_one_as_any_other() -> None:
    register_data("noise", load_noise)
    assert list_data()[-1] == "noise"
    assert data_record("noise").description == "Images of noise."
    splits = load_data("noise", count=100, test=20, limit=30)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [30, 10, 20]
    assert (splits.name, splits.label, splits.classes) == ("noise", "noise", ("a", "b", "c"))
    assert load_data("noise", seed=1).fingerprint != load_data("noise").fingerprint
    with pytest.raises(TypeError, match="data: count must be a whole number, got 'many'"):
        load_data("noise", count="many")
    expected = "it takes root, validation=0.1, test=0.1, seed=0, limit, count=60, classes=3"
    with pytest.raises(TypeError, match=f"data set 'noise' has no option 'counts': did you mean 'count'.* {expected}$"):
        load_data("noise", counts=3)


@pytest.mark.usefixtures("registry")
def test_a_registered_kind_gets_its_place() -> None:
    places = []

    def load(place: str, *, count: int = 30) -> Pools:
        places.append(place)
        return load_noise(count=count)

    register_data("noise:", load, description="noise:PLACE, images of noise", drawn=["validation"])
    with pytest.raises(ValueError, match="'noise:' names no place; expected noise:PLACE"):
        load_data("noise:")
    assert list(data_options("noise:x")) == ["validation", "seed", "limit", "count"]
    with pytest.raises(ValueError, match="the test split of noise:here is empty"):
        load_data("noise:here", count=40)
    assert places == ["here"]


@pytest.mark.usefixtures("registry")
def test_names_that_cannot_be_registered_are_refused() -> None:
    register_data("noise", load_noise)
    for name in ("noise", "noise:", "cifar10", "folder", "folder:"):
        with pytest.raises(ValueError, match=f"data set '{name}' is registered already; choose another name"):
            register_data(name, load_noise)
    for name in ("", "a,b", "a=b", "a/b", "a:b", ":"):
        with pytest.raises(ValueError, match=r"expected letters, digits, '_', '.', '-' and a colon at the end or none"):
            register_data(name, load_noise)
    with pytest.raises(ValueError, match=r"drawn=.*train.*: expected 'validation', 'test', both or none"):
        register_data("other", load_noise, drawn=["train"])


@pytest.mark.usefixtures("registry")
def test_a_loader_must_return_pools() -> None:
    register_data("noise", lambda: 3, description="not even noise")  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match=r"the loader of data set 'noise' must return saam.data.Pools, got 3"):
        load_data("noise")


@pytest.mark.usefixtures("registry")
def test_a_file_sets_only_what_was_registered_for_it() -> None:
    register_data("noise", load_noise, kept=["count"])
    assert len(load_kept_data("noise", count=50, limit=10, seed=3).train) == 10
    for options in ({"classes": 2}, {"root": "/"}, {"label": "x"}, {"train": 3}):
        with pytest.raises(ValueError, match="is not taken from a file, which may set count, limit, size, test, valid"):
            load_kept_data("noise", **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="a file may give numbers up to"):
        load_kept_data("noise", count=10**9)


def test_options_are_listed_with_their_defaults() -> None:
    assert catalog.spelled(data_options("folder:")) == (
        "size, validation=0.1, test=0.1, seed=0, limit, skip_corrupt=false, workers=0, label"
    )
    digits = catalog.spelled(data_options("photo-digits"))
    assert digits.startswith(
        "root, size=32, validation=1000, test=10000, seed=0, limit, train=15000, digit_size=(12,19)"
    )
    assert list(data_options("fashion-mnist")) == ["root", "size", "validation", "seed", "limit"]
