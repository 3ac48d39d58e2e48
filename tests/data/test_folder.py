"""Image folders: what is read, how it is divided, and what is refused."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from saam.data import Images, Splits, load_data
from saam.data.encoded import EncodedImages

MakeFolder = Callable[..., Path]
PARTS = ("train", "validation", "test")


def part(splits: Splits, name: str) -> Images:
    found = getattr(splits, name)
    assert isinstance(found, Images)
    return found


def contents(splits: Splits) -> list[set[bytes]]:
    return [{image.numpy().tobytes() for image in part(splits, name).images} for name in PARTS]


def test_class_folders_are_divided_in_proportion_and_never_mix(make_folder: MakeFolder) -> None:
    path = make_folder({"cat": 40, "dog": 20, "ant": 10})
    splits = load_data(f"folder:{path}", validation=0.2, test=0.1)
    assert splits.classes == ("ant", "cat", "dog")
    assert splits.label == "pets"
    assert [part(splits, name).labels.bincount().tolist() for name in PARTS] == [[7, 28, 14], [2, 8, 4], [1, 4, 2]]
    found = contents(splits)
    assert len(set.union(*found)) == 70 == sum(len(one) for one in found)
    assert splits.train.shape == (8, 10)
    for image, label in zip(part(splits, "test").images, part(splits, "test").labels, strict=True):
        files = {Image.open(file).tobytes() for file in (path / splits.classes[label]).iterdir()}
        assert image.permute(1, 2, 0).contiguous().numpy().tobytes() in files


def test_the_seed_decides_the_division(make_folder: MakeFolder) -> None:
    path = make_folder({"cat": 20, "dog": 20})
    assert load_data(str(path), seed=1).fingerprint == load_data(f"folder:{path}", seed=1).fingerprint
    assert contents(load_data(str(path), seed=1)) != contents(load_data(str(path), seed=2))


def test_split_folders_are_taken_as_they_lie(make_folder: MakeFolder) -> None:
    path = make_folder({"train/a": 6, "train/b": 5, "val/a": 2, "val/b": 3, "test/a": 4})
    splits = load_data(str(path))
    assert [len(part(splits, name)) for name in PARTS] == [11, 5, 4]
    assert part(splits, "test").labels.tolist() == [0] * 4
    shutil.rmtree(path / "val")
    found = contents(load_data(str(path), validation=3))
    assert [len(one) for one in found] == [8, 3, 4]
    assert found[2] == contents(splits)[2]
    assert found[0] | found[1] == contents(splits)[0]


def test_a_class_may_be_called_train(make_folder: MakeFolder) -> None:
    assert load_data(str(make_folder({"train": 9, "plane": 9}))).classes == ("plane", "train")


def test_what_is_hidden_or_no_image_is_not_read(make_folder: MakeFolder) -> None:
    path = make_folder({"a": 5, "b": 5, "b/more": 2, ".hidden": 3})
    (path / "a" / "notes.txt").write_text("none")
    (path / "a" / "._0.png").write_text("none")
    splits = load_data(str(path), validation=1, test=1)
    assert sum(len(part(splits, name)) for name in PARTS) == 12


def test_large_images_stay_on_disk(make_folder: MakeFolder) -> None:
    path = make_folder({"a": 6, "b": 6}, width=80, height=70)
    splits = load_data(str(path), size=68)
    assert isinstance(splits.train, EncodedImages)
    assert splits.train.shape == (68, 68)
    (pixels,) = splits.train.read([torch.arange(len(splits.train))])
    values = pixels.double() / 255
    assert splits.mean == pytest.approx(values.mean(dim=(0, 2, 3)).tolist())
    assert splits.std == pytest.approx(values.std(dim=(0, 2, 3), correction=0).tolist())
    assert isinstance(load_data(str(path), size=60).train, Images)


def test_a_corrupt_image_is_named_or_left_out(make_folder: MakeFolder) -> None:
    path = make_folder({"a": 8, "b": 8})
    (path / "b" / "3.png").write_bytes((path / "b" / "3.png").read_bytes()[:60])
    with pytest.raises(
        ValueError, match=r"cannot decode the image b/3.png: .*; repair or remove it, or pass skip_corrupt=true"
    ):
        load_data(str(path))
    splits = load_data(str(path), skip_corrupt=True)
    assert sum(len(part(splits, name)) for name in PARTS) == 15
    assert splits.notes == ("left out 1 image that cannot be decoded: b/3.png",)
    assert load_data(str(make_folder({"a": 8, "b": 8})), skip_corrupt=True).notes == ()


def test_a_folder_that_is_not_there_or_has_no_classes(make_folder: MakeFolder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*/none; expected one that has a subfolder of images"):
        load_data(f"folder:{tmp_path / 'none'}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="has 0 subfolders; expected one for each class, and two"):
        load_data(f"folder:{tmp_path / 'empty'}")
    with pytest.raises(FileNotFoundError, match="has 1 subfolder; expected"):
        load_data(str(make_folder({"only": 3})))


def test_a_class_with_no_image_is_named(make_folder: MakeFolder) -> None:
    path = make_folder({"a": 4, "b": 4})
    (path / "c").mkdir()
    with pytest.raises(ValueError, match=r"the class folder .*/c has no image; expected files such as .jpg"):
        load_data(str(path))


def test_a_class_that_train_does_not_have_is_named(make_folder: MakeFolder) -> None:
    path = make_folder({"train/a": 4, "train/b": 4, "test/c": 2})
    with pytest.raises(ValueError, match=r"test has the class 'c', which .*train does not have"):
        load_data(str(path))


@pytest.mark.parametrize("folders", [{"test/a": 2, "val/a": 2}, {"train/a": 2, "val/a": 2, "valid/a": 2}])
def test_split_folders_that_make_no_sense(make_folder: MakeFolder, folders: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected train, and at most one val and test"):
        load_data(str(make_folder(folders)))


def test_results_that_lie_among_the_images_are_no_class(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_folder({"cat": 20, "dog": 20})
    before = load_data(str(path))
    monkeypatch.chdir(path)
    for folder, files in {
        "saam-comparison": (),  # made, and nothing in it yet
        "other": ("plan.json", "runs/1.json", "maps.png"),
        "saam-training": ("state.pt",),
        "trained": ("model.safetensors", "config.json", "curves.json"),
        "begun": ("pets-resnet20/plan.json", "pets-vgg11/plan.json"),
        "study": ("study.json", "report.html", "pets-resnet20/plan.json"),
        "page": ("page.json", "model.onnx", "samples/0.png"),
        "__MACOSX": ("cat/._0.png",),  # of an archive made on a Mac
    }.items():
        Path(folder).mkdir()
        for file in files:
            Path(folder, file).parent.mkdir(exist_ok=True)
            Path(folder, file).write_text("{}")
        found = load_data(".")
        assert found.classes == ("cat", "dog")
        assert found.fingerprint == before.fingerprint


def test_a_class_stays_one_with_results_beside_its_images(make_folder: MakeFolder) -> None:
    path = make_folder({"cat": 20, "dog": 20})
    (path / "cat" / "results").mkdir()
    (path / "cat" / "results" / "plan.json").write_text("{}")
    assert load_data(str(path)).classes == ("cat", "dog")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("Training/a", "Training/b", "Testing/a", "Testing/b"), "has Testing, Training, which look like splits"),
        (("train/a", "train/b", "test/a", "test/b", "unlabeled"), "has test, train, unlabeled, which look like splits"),
        (("train/a", "train/b", "extra"), "has train beside extra, which look like splits"),
        (("Train", "Val"), "has Train, Val, which look like splits"),
    ],
)
def test_what_looks_like_splits_is_not_taken_for_classes(
    make_folder: MakeFolder, names: tuple[str, ...], message: str
) -> None:
    path = make_folder(dict.fromkeys(names, 3))
    with pytest.raises(ValueError, match=rf"{message}.* name them train, val \(if there is one\) and test"):
        load_data(str(path))


def test_a_class_may_be_named_as_a_split(make_folder: MakeFolder) -> None:
    assert load_data(str(make_folder({"car": 20, "train": 20}))).classes == ("car", "train")


@pytest.mark.parametrize("size", [8, 80])
def test_test_images_that_repeat_train_images_are_noted(make_folder: MakeFolder, size: int) -> None:
    path = make_folder({"train/a": 9, "train/b": 9, "test/a": 4, "test/b": 4}, width=size, height=size)
    clean = load_data(str(path), validation=2)
    repeated = [note for note in clean.notes if "test images" in note]
    assert len(repeated) == 0
    for i in range(3):
        shutil.copy(path / "train" / "a" / f"{i}.png", path / "test" / "b" / f"copy{i}.png")
    notes = load_data(str(path), validation=0.1).notes
    assert any(note.startswith(("3 of 11 test images repeat train", "2 of 11 test", "1 of 11 test")) for note in notes)
    assert clean.notes == ()


def test_other_pixels_in_files_of_equal_length_are_other_data(make_folder: MakeFolder) -> None:
    path = make_folder({"a": 12, "b": 12}, width=70, height=70)
    for file in path.rglob("*.png"):
        Image.open(file).save(file.with_suffix(".bmp"))
        file.unlink()
    before = load_data(str(path)).fingerprint
    assert load_data(str(path)).fingerprint == before
    (file, *_) = sorted(path.rglob("*.bmp"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 255
    file.write_bytes(content)
    assert load_data(str(path)).fingerprint != before


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif"])
def test_a_truncated_large_image_shows_before_training(make_folder: MakeFolder, suffix: str) -> None:
    path = make_folder({"a": 6, "b": 6}, width=90, height=90)
    victim = path / "b" / f"x.{suffix}"
    Image.open(path / "a" / "0.png").save(victim)
    victim.write_bytes(victim.read_bytes()[:-200])
    for options in ({}, {"size": 72}):
        with pytest.raises(ValueError, match=f"cannot decode the image b/x.{suffix}: .*; repair or remove it"):
            load_data(str(path), **options)
    assert len(load_data(str(path), skip_corrupt=True).classes) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_a_pipe_among_the_images_does_not_block(make_folder: MakeFolder) -> None:
    path = make_folder({"a": 6, "b": 6})
    os.mkfifo(path / "b" / "x.png")
    with pytest.raises(ValueError, match=r"cannot decode the image b/x.png: .* is not a regular file"):
        load_data(str(path))


def test_escape_sequences_in_names_are_spelled_out(make_folder: MakeFolder) -> None:
    splits = load_data(str(make_folder({"a\x1b[31m": 6, "b": 6}, name="pets\x1b]0;x\x07")))
    assert splits.classes == (r"a\x1b[31m", "b")
    assert splits.label == r"pets\x1b]0;x\x07"
