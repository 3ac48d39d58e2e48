"""Image files: upright and on white in training as in `saam explain`, and known by their endings in both."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from saam.data import Images, load_data
from saam.data.encoded import EncodedImages, decode, load_encoded
from saam.data.image_files import find_images, open_image, upright_shape
from saam.explain import find_photographs, read_photograph

Array = np.ndarray[Any, np.dtype[np.uint8]]
TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: pixels[::-1].swapaxes(0, 1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: pixels[:, ::-1].swapaxes(0, 1),
}
"""What each orientation of EXIF asks for."""
LOSSLESS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}


def noise(height: int, width: int, channels: int = 3) -> Array:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def turned(pixels: Array, kind: str, orientation: int) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(buffer, kind, exif=exif, **LOSSLESS.get(kind, {}))
    return buffer.getvalue()


def late(png: bytes) -> bytes:
    """Return a PNG with its EXIF data behind the pixels."""
    start = png.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(png[start : start + 4], "big")
    return png[:start] + png[end:-12] + png[start:end] + png[-12:]


@pytest.mark.parametrize("kind", LOSSLESS)
@pytest.mark.parametrize("orientation", TURNS)
def test_images_are_turned_upright(kind: str, orientation: int) -> None:
    pixels = noise(5, 7)
    expected = torch.from_numpy(TURNS[orientation](pixels).copy()).permute(2, 0, 1)
    assert torch.equal(decode(turned(pixels, kind, orientation), "x"), expected)


@pytest.mark.parametrize("size", [None, 66])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "late PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [3, 5, 6, 7, 8])
def test_large_images_have_the_shape_of_their_upright_pixels(kind: str, orientation: int, size: int | None) -> None:
    content = turned(noise(70, 90), kind.removeprefix("late "), orientation)
    if kind == "late PNG":
        content = late(content)
    upright = noise(*((90, 70) if orientation > 4 else (70, 90)))
    images, *_ = load_encoded([turned(upright, "PNG", 1), content], ["a", "b"], [0, 1], size=size)
    assert isinstance(images, EncodedImages)
    (read,) = images.read([torch.arange(2)])
    assert torch.equal(read[1], decode(content, "b", size))


@pytest.mark.parametrize("palette", [False, True])
def test_transparent_pixels_are_white(palette: bool) -> None:
    buffer = io.BytesIO()
    if palette:
        image = Image.new("P", (2, 1), 0)
        image.putpalette([255, 0, 0, 0, 0, 255])
        image.putpixel((1, 0), 1)
        image.save(buffer, "PNG", transparency=0)
    else:
        Image.fromarray(np.array([[(255, 0, 0, 0), (0, 0, 255, 255)]], np.uint8)).save(buffer, "PNG")
    assert decode(buffer.getvalue(), "x").permute(1, 2, 0).tolist() == [[[255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize("side", [20, 70])
def test_training_reads_a_file_as_explain_does(side: int, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("transparent.png", "turned.jpg")]
    Image.fromarray(noise(side, side, 4)).save(files[0])
    files[1].write_bytes(turned(noise(side, side), "JPEG", 6))
    images, *_ = load_encoded(files, ["a", "b"], [0, 1])
    (read,) = images.read([torch.arange(2)])
    assert torch.equal(read, torch.stack([read_photograph(file) for file in files]))


@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
def test_pixels_of_plain_images_are_those_of_pillow(mode: str) -> None:
    image, buffer = Image.fromarray(noise(9, 6)).convert(mode), io.BytesIO()
    image.save(buffer, "PNG")
    assert torch.equal(
        decode(buffer.getvalue(), "x").permute(1, 2, 0), torch.from_numpy(np.array(image.convert("RGB")))
    )


@pytest.mark.parametrize("size", [None, 72])
@pytest.mark.parametrize("deep", [np.uint16, np.int32, np.float32])
def test_more_than_8_bits_show_before_training(deep: type, size: int | None, tmp_path: Path) -> None:
    sources = [tmp_path / f"{i}.tif" for i in range(3)]
    for i, file in enumerate(sources):
        pixels = noise(80, 80) if i != 1 else np.full((80, 80), 40_000, deep)
        Image.fromarray(pixels).save(file)
    with pytest.raises(ValueError, match=r"cannot decode the image b: its pixels have more than 8 bits \(mode [IF]"):
        load_encoded(sources, ["a", "b", "c"], [0, 1, 2], size=size)
    assert load_encoded(sources, ["a", "b", "c"], [0, 1, 2], size=size, skip_corrupt=True)[1] == [0, 2]


def test_a_large_png_without_orientation_is_not_decoded_when_it_is_loaded() -> None:
    """Its pixels cannot be decompressed, which its checksums do not show."""
    content = turned(noise(70, 70), "PNG", 1)
    start = content.index(b"IDAT")
    length = int.from_bytes(content[start - 4 : start], "big")
    chunk = b"IDAT" + b"\0" * length
    broken = content[:start] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + content[start + 8 + length :]
    begin = broken.index(b"eXIf") - 4
    plain = broken[:begin] + broken[begin + 12 + int.from_bytes(broken[begin : begin + 4], "big") :]
    load_encoded([turned(noise(70, 70), "PNG", 1), plain], ["a", "b"], [0, 1])
    with pytest.raises(ValueError, match="cannot decode the image b"):
        load_encoded([turned(noise(70, 70), "PNG", 1), broken], ["a", "b"], [0, 1])


def test_training_and_explain_find_the_same_files(make_folder: Callable[..., Path]) -> None:
    path = make_folder({"a": 5, "b": 5})
    jpeg = turned(noise(8, 10), "JPEG", 1)
    for name in ("x.jfif", "x.JPE", "x.pdf", "x.h5", "x.eps", "x.txt", ".x.png"):
        (path / "b" / name).write_bytes(jpeg)
    found = find_images((path / "b").iterdir())
    assert [file.name for file in found] == ["0.png", "1.png", "2.png", "3.png", "4.png", "x.JPE", "x.jfif"]
    assert find_photographs([path / "b"]) == found
    splits = load_data(str(path), validation=1, test=1)
    assert isinstance(splits.train, Images)
    assert sum(len(part) for part in (splits.train, splits.validation, splits.test)) == 12


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_damaged_exif_data_turn_nothing(kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(5, 7)).save(buffer, kind, exif=b"Exif\0\0XXXXXXXXnonsense")
    assert decode(buffer.getvalue(), "x").shape == (3, 5, 7)
    with open_image(buffer.getvalue()) as image:
        image.load()
        assert upright_shape(image) == (5, 7)


def test_how_files_are_decoded_is_part_of_what_large_images_are(monkeypatch: pytest.MonkeyPatch) -> None:
    images, *_ = load_encoded([turned(noise(80, 80), "PNG", 1)], ["x"], [0])
    before = images.digest()
    monkeypatch.setattr("saam.data.encoded.DECODING", 3)
    assert images.digest() != before
