"""Parquet data sets, on disk and from the hub: what is read, and what is refused."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from PIL import Image
from pyarrow import parquet

from saam.data import Images, Splits, load_data
from saam.data.encoded import EncodedImages

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg"
PARTS = ("train", "validation", "test")


def pixels(number: int, side: int = 6) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)


def png(number: int, side: int = 6) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(number, side)).save(buffer, "PNG")
    return buffer.getvalue()


def write(
    file: Path,
    labels: list[int],
    *,
    first: int = 0,
    side: int = 6,
    image: str = "image",
    target: str = "label",
    names: list[str] | None = None,
    struct: bool = True,
) -> None:
    encoded: list[Any] = [png(first + i, side) for i in range(len(labels))]
    if struct:
        encoded = [{"bytes": content, "path": None} for content in encoded]
    table = pyarrow.table({"other": [0.5] * len(labels), image: encoded, target: labels})
    if names:
        features = {target: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, file)


def part(splits: Splits, name: str) -> Images:
    found = getattr(splits, name)
    assert isinstance(found, Images)
    return found


def numbers(splits: Splits, name: str) -> set[int]:
    """Which of the images 0 to 99 a split holds."""
    known = {pixels(i).transpose(2, 0, 1).tobytes(): i for i in range(100)}
    return {known[image.numpy().tobytes()] for image in part(splits, name).images}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ["cat", "dog"]
    write(tmp_path / "toy" / "train-00000-of-00002.parquet", [0, 1] * 10, names=names)
    write(tmp_path / "toy" / "train-00001-of-00002.parquet", [1, 0] * 5, first=20, names=names)
    write(tmp_path / "toy" / "test-00000-of-00001.parquet", [1, 1, 0, 1], first=30, names=names)
    return tmp_path / "toy"


def test_splits_come_from_the_files_and_validation_from_train(folder: Path) -> None:
    splits = load_data(f"parquet:{folder}", validation=0.2)
    assert (splits.classes, splits.label) == (("cat", "dog"), "toy")
    assert numbers(splits, "test") == {30, 31, 32, 33}
    assert len(numbers(splits, "validation")) == 6
    assert numbers(splits, "train") | numbers(splits, "validation") == set(range(30))
    assert [len(part(splits, name)) for name in PARTS] == [24, 6, 4]
    assert part(splits, "test").labels.tolist() == [1, 1, 0, 1]
    order = [
        np.array_equal(image, pixels(30 + i).transpose(2, 0, 1)) for i, image in enumerate(part(splits, "test").images)
    ]
    assert all(order)


def test_validation_files_are_taken_and_a_missing_test_split_is_drawn(folder: Path) -> None:
    write(folder / "validation-00000-of-00001.parquet", [0, 1, 1], first=40)
    (folder / "test-00000-of-00001.parquet").unlink()
    splits = load_data(str(folder), test=5, label="Toys")
    assert splits.label == "Toys"
    assert numbers(splits, "validation") == {40, 41, 42}
    assert len(numbers(splits, "test")) == 5
    assert numbers(splits, "train") | numbers(splits, "test") == set(range(30))


def test_other_column_names_plain_bytes_and_no_class_names(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [0, 2, 1] * 5, image="img", target="fine_label", struct=False)
    splits = load_data(str(tmp_path))
    assert splits.classes == ("0", "1", "2")
    assert sum(len(part(splits, name)) for name in PARTS) == 15


def test_large_images_stay_encoded(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [0, 1] * 4, side=70)
    splits = load_data(str(tmp_path))
    assert isinstance(splits.train, EncodedImages)
    assert splits.train.shape == (70, 70)
    assert isinstance(load_data(str(tmp_path), size=64).train, Images)


@pytest.mark.parametrize("wrong", [-1, 2, 7])
@pytest.mark.parametrize("named", [True, False])
def test_labels_out_of_range_are_named(tmp_path: Path, wrong: int, named: bool) -> None:
    write(tmp_path / "train-0.parquet", [0, 1] * 6, names=["cat", "dog"] if named else None)
    write(tmp_path / "test-0.parquet", [0, 1, wrong])
    with pytest.raises(ValueError, match=rf"test-0.parquet row 2 of .* has the label {wrong}, expected 0 to 1 for 2"):
        load_data(str(tmp_path))


def test_labels_with_gaps_and_no_class_names_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "train-0.parquet", [0, 1, 10**9] * 6)
    with pytest.raises(ValueError, match=r"row 2 .* has the label 1000000000, expected 0 to 2 for 3 classes"):
        load_data(str(tmp_path))


def test_files_that_name_other_classes_are_refused(folder: Path) -> None:
    write(folder / "test-00000-of-00001.parquet", [1, 0], names=["dog", "cat"])
    with pytest.raises(ValueError, match=r"test-00000-of-00001.parquet names other classes"):
        load_data(str(folder))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": [b"a"], "label": [0]}, "has the columns picture, label; expected one named image or img"),
        ({"image": [b"a"], "kind": [0]}, "expected one named label or fine_label"),
        ({"image": ["a.png"], "label": [0]}, "column 'image' of .* is string; expected encoded images"),
        ({"image": [b"a"], "label": ["cat"]}, "column 'label' of .* is string; expected class numbers"),
        ({"image": [b"a", None], "label": [0, 1]}, "column 'image' of .* has 1 empty cells"),
        ({"image": [{"bytes": None, "path": "a"}, {"bytes": b"b", "path": "b"}], "label": [0, 1]}, "has 1 empty cells"),
        ({"image": [None, {"bytes": b"b", "path": "b"}], "label": [0, 1]}, "column 'image' of .* has 1 empty cells"),
        ({"image": [{"path": "b"}], "label": [0]}, "column 'image' of .* is struct<path: string>; expected encoded"),
        ({"image": [b"a", b"b"], "label": [None, 1]}, "column 'label' of .* has 1 empty cells"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, columns: dict[str, list[Any]], message: str) -> None:
    parquet.write_table(pyarrow.table(columns), tmp_path / "train-0.parquet")
    with pytest.raises(ValueError, match=message):
        load_data(str(tmp_path))


def test_a_damaged_file_and_a_corrupt_image_are_named(folder: Path) -> None:
    file = folder / "train-00001-of-00002.parquet"
    table = parquet.read_table(file).to_pydict()
    table["image"][3]["bytes"] = b"nothing"
    parquet.write_table(pyarrow.table(table), file)
    with pytest.raises(ValueError, match=r"cannot decode the image train-00001-of-00002.parquet row 3"):
        load_data(str(folder))
    splits = load_data(str(folder), skip_corrupt=True)
    assert sum(len(part(splits, name)) for name in PARTS) == 33
    assert splits.notes[-1] == "left out 1 image that cannot be decoded: train-00001-of-00002.parquet row 3"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cannot read .*train-00001-of-00002.parquet: .* not a complete parquet file"):
        load_data(str(folder))


def test_a_folder_without_train_files(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no train-\*.parquet in .*; there are some in .*toy"):
        load_data(f"parquet:{tmp_path}")
    with pytest.raises(FileNotFoundError, match=r"no train-\*.parquet in .*none, which is what a parquet data set"):
        load_data(f"parquet:{tmp_path / 'none'}")


def test_the_hub_is_asked_for_parquet_files_only(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    splits = load_data("hub:someone/toys", root=tmp_path / "hub", revision="v1", validation=4)
    assert asked == {
        "repository": "someone/toys",
        "repo_type": "dataset",
        "revision": "v1",
        "cache_dir": tmp_path / "hub",
        "allow_patterns": ["*.parquet"],
    }
    assert (splits.name, splits.label) == ("hub:someone/toys", "someone/toys")
    assert [len(part(splits, name)) for name in PARTS] == [26, 4, 4]

    shutil.copytree(folder, tmp_path / "second")
    with pytest.raises(FileNotFoundError, match="several data sets; choose one with folder= 'second', 'toy'"):
        load_data("hub:someone/toys")
    assert load_data("hub:someone/toys", folder="second", validation=4).fingerprint == splits.fingerprint


class MissingError(RepositoryNotFoundError):
    def __init__(self) -> None:  # without the response that its base class asks for
        Exception.__init__(self, "no such thing")


@pytest.mark.parametrize("kind", ["offline", "missing"])
def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    def fail(*_: object, **__: object) -> str:
        if kind == "offline":
            raise LocalEntryNotFoundError("cannot reach it\nsecond line")
        raise MissingError

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(ConnectionError, match=r"cannot get the data set a/b: .*; check the name and the network"):
        load_data("hub:a/b")


@pytest.mark.skipif(not CIFAR.is_dir(), reason="needs a parquet copy of CIFAR-10 beside the project")
def test_a_real_data_set(tmp_path: Path) -> None:
    for name, count in (("train", 600), ("test", 200)):
        (file,) = CIFAR.glob(f"{name}-*.parquet")
        batch = next(parquet.ParquetFile(file).iter_batches(count))
        parquet.write_table(pyarrow.Table.from_batches([batch]), tmp_path / file.name)
    splits = load_data(str(tmp_path), label="CIFAR-10 (JPEG)")
    assert splits.classes[:2] == ("airplane", "automobile")
    assert splits.label == "CIFAR-10 (JPEG)"
    assert [len(part(splits, name)) for name in PARTS] == [540, 60, 200]
    assert splits.mean == pytest.approx((0.491, 0.482, 0.447), abs=0.03)


@pytest.mark.parametrize(
    "metadata",
    [
        *(
            "",
            "{",
            "[1]",
            '"x"',
            '{"info": 3}',
            '{"info": {"features": [1]}}',
            '{"info": {"features": {"label": [1]}}}',
        ),
        *('{"info": {"features": {"label": {"names": 5}}}}', '{"info": {"features": {"label": {"names": [1, 2]}}}}'),
        "[" * 100_000,
    ],
)
def test_damaged_metadata_are_one_line(folder: Path, metadata: str) -> None:
    for file in folder.glob("*.parquet"):
        table = parquet.read_table(file).replace_schema_metadata({"huggingface": metadata})
        parquet.write_table(table, file)
    with pytest.raises(ValueError, match=r"the metadata 'huggingface' of .*\.parquet are damaged \(.*: write the file"):
        load_data(f"parquet:{folder}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_a_pipe_does_not_block(folder: Path) -> None:
    os.mkfifo(folder / "train-9.parquet")
    with pytest.raises(ValueError, match=r"train-9\.parquet is not a regular file"):
        load_data(f"parquet:{folder}")
