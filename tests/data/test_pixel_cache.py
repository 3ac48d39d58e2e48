"""Decoded images in the cache folder: equal, whole or decoded again, and nothing lost where they cannot be kept."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from saam.data import Images, encoded

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10"


def png(seed: int, height: int = 6, width: int = 9) -> bytes:
    rng, buffer = np.random.default_rng(seed), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


SOURCES = [png(i) for i in range(12)]
LABELS = [i % 3 for i in range(12)]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that were decoded, of which few are enough to be kept."""
    names: list[str] = []
    real = encoded.decode
    monkeypatch.setattr(encoded, "_WORTH_KEEPING", 500)
    monkeypatch.setattr(encoded, "decode", lambda source, name, size: names.append(name) or real(source, name, size))
    return names


def load(sources: Any = SOURCES, **options: Any) -> Images:
    names = [f"image {i}" for i in range(len(sources))]
    images, *_ = encoded.load_encoded(sources, names, LABELS[: len(sources)], **options)
    assert isinstance(images, Images)
    return images


def pixels(sources: Any = SOURCES, size: int | None = None) -> torch.Tensor:
    return torch.stack([encoded.decode(source, "", size) for source in sources])


def test_images_are_decoded_once(decoded: list[str], own_cache: Path) -> None:
    first = load()
    assert len(decoded) == 12
    again = load()
    assert len(decoded) == 12
    assert [file.name.partition("-")[0] for file in own_cache.iterdir()] == ["decoded"]
    for images in (first, again):
        assert torch.equal(images.images, pixels())
        assert images.labels.tolist() == LABELS
    assert again.digest() == Images(pixels(), torch.tensor(LABELS)).digest()
    assert list(again.hashes) == Images(pixels(), torch.tensor(LABELS)).hashes


def test_the_pages_are_shared_until_they_are_written_to(decoded: list[str], own_cache: Path) -> None:
    images, order = load(), torch.tensor([7, 2, 11])
    chosen = images.select(order).select(torch.tensor([2, 0]))
    assert chosen._all.data_ptr() == images._all.data_ptr()
    assert torch.equal(chosen.images, pixels()[[11, 7]])
    assert torch.equal(next(chosen.read([torch.tensor([1])])), pixels()[[7]])
    assert chosen.labels.tolist() == [LABELS[11], LABELS[7]]
    (file,) = own_cache.iterdir()
    before = file.read_bytes()
    images._all.zero_()
    assert file.read_bytes() == before


@pytest.mark.parametrize("change", ["content", "order", "size", "fewer"])
def test_other_images_are_decoded_anew(decoded: list[str], change: str) -> None:
    load()
    decoded.clear()
    sources = {"content": [png(99), *SOURCES[1:]], "order": SOURCES[::-1], "fewer": SOURCES[:-1]}.get(change, SOURCES)
    size = 5 if change == "size" else None
    images = load(sources, size=size)
    assert len(decoded) == len(sources)
    assert torch.equal(images.images, pixels(sources, size))


@pytest.mark.parametrize("damage", ["half", "pixel", "shape", "check", "empty", "few", "folder"])
def test_a_damaged_file_is_written_again(decoded: list[str], own_cache: Path, damage: str) -> None:
    load()
    decoded.clear()
    (file,) = own_cache.iterdir()
    content = file.read_bytes()
    place = {"pixel": 100, "shape": -48, "check": -1}.get(damage, 0)
    flipped = bytearray(content)
    flipped[place] ^= 255
    file.write_bytes({"half": content[:300], "empty": b"", "few": b"abc"}.get(damage, bytes(flipped)))
    if damage == "folder":
        file.unlink()
        file.mkdir()
    assert torch.equal(load().images, pixels())
    assert len(decoded) == 24  # here and by pixels()
    if damage != "folder":
        assert file.read_bytes() == content
    assert list(own_cache.iterdir()) == [file]


def test_a_folder_that_cannot_be_written_is_no_error(
    decoded: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SAAM_CACHE", str(tmp_path / "file" / "cache"))
    for _ in range(2):
        assert torch.equal(load().images, pixels())


def test_corrupt_images_are_told_of_each_time(decoded: list[str], own_cache: Path) -> None:
    sources = [*SOURCES[:5], SOURCES[5][:60], *SOURCES[6:]]
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot decode the image image 5"):
            load(sources)
        assert torch.equal(load(sources, skip_corrupt=True).images, pixels(SOURCES[:5] + SOURCES[6:]))
    assert not own_cache.exists()


def test_large_images_and_few_bytes_are_not_kept(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    monkeypatch.setattr(encoded, "_WORTH_KEEPING", 500)
    encoded.load_encoded([png(1, 70, 70)], ["large"], [0])
    assert not own_cache.exists()


@pytest.mark.skipif(not CIFAR.is_dir(), reason="needs a parquet copy of CIFAR-10 beside the project")
def test_a_real_data_set_is_the_same_from_the_cache(tmp_path: Path, own_cache: Path) -> None:
    from pyarrow import Table, parquet

    from saam.data import load_data

    (file,) = CIFAR.glob("train-*.parquet")
    batch = next(parquet.ParquetFile(file).iter_batches(1000))
    parquet.write_table(Table.from_batches([batch]), tmp_path / file.name)
    first, again = load_data(str(tmp_path)), load_data(str(tmp_path))
    assert first.fingerprint == again.fingerprint
    (kept,) = own_cache.glob("decoded-*")
    kept.unlink()
    kept.mkdir()  # now it can be neither read nor written
    assert load_data(str(tmp_path)).fingerprint == first.fingerprint
