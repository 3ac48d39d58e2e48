"""What is kept of data: the same as what was found, and found again where it is damaged or belongs to other data."""

from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet as files
from torch import Tensor

from saam.data import Images, Splits, build_splits, encoded, load_data, parquet, pixel_cache, splits
from saam.data.kept import key_of, read_kept, write_kept


def png(seed: int) -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def write(folder: Path, labels: list[int], *, first: int = 0) -> None:
    for part, start in (("train", first), ("validation", 20), ("test", 40)):
        table = pyarrow.table({"image": [png(start + i) for i in range(len(labels))], "label": labels})
        folder.mkdir(exist_ok=True)
        files.write_table(table, folder / f"{part}-0.parquet")


def same(one: Splits, other: Splits) -> bool:
    facts = all(
        getattr(one, name) == getattr(other, name)
        for name in ("fingerprint", "mean", "std", "notes", "classes", "label")
    )
    parts = [(getattr(one, name), getattr(other, name)) for name in ("train", "validation", "test")]
    return facts and all(torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in parts)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parquet files that were read; few bytes are enough to be kept."""
    seen: list[str] = []
    real = parquet._read
    monkeypatch.setattr(encoded, "_WORTH_KEEPING", 500)
    monkeypatch.setattr(parquet, "_read", lambda file: seen.append(file.name) or real(file))
    return seen


def test_values_come_back_and_damaged_ones_do_not(own_cache: Path) -> None:
    values, key = {"mean": [0.1, 1 / 3], "notes": ["one"]}, key_of("a", 1)
    assert read_kept("colours", key) is None
    write_kept("colours", key, values)
    assert read_kept("colours", key) == values
    assert key_of("a", 2) != key != key_of("a1")
    (file,) = own_cache.iterdir()
    content = file.read_bytes()
    for damaged in (content[:-2], content.replace(b"0.1", b"0.2"), b"", b"\n[]"):
        file.write_bytes(damaged)
        assert read_kept("colours", key) is None
    file.unlink()
    file.mkdir()
    write_kept("colours", key, values)  # cannot be written: no error
    assert read_kept("colours", key) is None


def test_parquet_files_are_read_once(tmp_path: Path, reads: list[str]) -> None:
    write(tmp_path / "data", [0, 1, 2, 1, 0, 2])
    first = load_data(str(tmp_path / "data"))
    assert len(reads) == 3
    (tmp_path / "data").rename(tmp_path / "moved")  # the content decides, not the place
    again = load_data(str(tmp_path / "moved"), label="data")
    assert len(reads) == 3
    assert same(first, again)


@pytest.mark.parametrize("change", ["labels", "images", "size", "skip_corrupt", "index", "pixels"])
def test_other_files_or_options_are_read_anew(tmp_path: Path, own_cache: Path, reads: list[str], change: str) -> None:
    labels = [0, 1, 2, 1, 0, 2]
    write(tmp_path / "data", labels)
    first = load_data(str(tmp_path / "data"))
    if change in ("labels", "images"):
        write(tmp_path / "data", labels[::-1] if change == "labels" else labels, first=5 if change == "images" else 0)
    if change in ("index", "pixels"):
        (file,) = own_cache.glob({"index": "parquet-*", "pixels": "decoded-*"}[change])
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    options = {"size": {"size": 5}, "skip_corrupt": {"skip_corrupt": True}}.get(change, {})
    again = load_data(str(tmp_path / "data"), **options)
    assert len(reads) == 6
    assert same(first, again) == (change in ("skip_corrupt", "index", "pixels"))


def images(count: int, seed: int) -> Images:
    pixels = torch.randint(0, 256, (count, 3, 5, 7), generator=torch.Generator().manual_seed(seed))
    return Images(pixels.to(torch.uint8), torch.arange(count) % 2)


def test_colours_and_repeated_images_of_many_are_found_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(train: Images) -> Splits:
        return build_splits(train, images(3, 1), images(4, 0), name="x", label="x", classes="ab", augmentation=())

    monkeypatch.setattr(splits, "_MANY", 8)
    first = build(images(8, 0))
    assert [file.name.partition("-")[0] for file in own_cache.iterdir()] == ["colours"]
    other = build(images(8, 2))
    monkeypatch.setattr(splits, "_colour_statistics", None)
    monkeypatch.setattr(splits, "_repeated", None)
    assert same(build(images(8, 0)), first)
    assert same(build(images(8, 2)), other)
    assert other.mean != first.mean
    assert len(first.notes) == 1
    with pytest.raises(TypeError, match="not callable"):
        build(images(7, 0))  # few are not kept


def test_means_and_deviations_are_those_of_all_pixels() -> None:
    train = images(130, 3)
    mean, std = splits._colour_statistics(train)
    values: Tensor = train.images.double().transpose(0, 1).flatten(1) / 255
    assert mean == pytest.approx(values.mean(1).tolist(), rel=1e-12)
    assert std == pytest.approx(values.std(1, correction=0).tolist(), rel=1e-9)


def test_bright_images_do_not_overflow() -> None:
    white = Images(torch.full((700, 3, 64, 64), 255, dtype=torch.uint8), torch.zeros(700, dtype=torch.int64))
    mean, std = splits._colour_statistics(white)
    assert mean == (1.0, 1.0, 1.0)
    assert std == pytest.approx([1 / 255] * 3)


def test_the_hash_of_images_in_the_cache_is_found_once(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = images(9, 0)
    kept = Images(every.images, every.labels, rows=torch.arange(9), key="a")
    chosen = torch.tensor([4, 1, 7])
    digests = [kept.digest(), kept.select(chosen).digest()]
    assert digests == [every.digest(), every.select(chosen).digest()]
    relabelled = Images(every.images, 1 - every.labels, rows=torch.arange(9), key="a")
    other = Images(images(9, 1).images, every.labels, rows=torch.arange(9), key="b")
    assert len({*digests, relabelled.digest(), other.digest(), kept.select(chosen.flip(0)).digest()}) == 5
    assert len(list(own_cache.glob("digest-*"))) == 5
    monkeypatch.setattr(Images, "_digest", None)
    assert [kept.digest(), kept.select(chosen).digest()] == digests


@pytest.mark.parametrize("side", [8, 70])
def test_what_was_kept_while_transparency_was_ignored_is_not_used(
    side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    from PIL import Image

    def hidden(seed: int) -> bytes:
        buffer = io.BytesIO()
        pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 4), dtype=np.uint8)
        pixels[..., 3] = 0
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    monkeypatch.setattr(splits, "_MANY", 1)
    monkeypatch.setattr(encoded, "_WORTH_KEEPING", 1)
    table = pyarrow.table({"image": [hidden(i) for i in range(20)], "label": [0, 1] * 10})
    files.write_table(table, tmp_path / "train-0.parquet")
    with monkeypatch.context() as earlier:
        for module in (encoded, parquet, pixel_cache):
            earlier.setattr(module, "DECODING", 1)
        earlier.setattr(
            encoded, "pixels_of", lambda image, size: torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        )
        assert max(load_data(str(tmp_path)).mean) < 0.6
    found = load_data(str(tmp_path))
    assert found.mean == (1.0, 1.0, 1.0)
    (pixels,) = found.test.read([torch.tensor([0, 1])])
    assert (pixels == 255).all()
