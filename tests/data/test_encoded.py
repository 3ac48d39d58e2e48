"""Decoding: sizes, colours, corrupt files, and what is held in memory."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saam.data import Images
from saam.data.encoded import EncodedImages, decode, load_encoded


def png(height: int, width: int, seed: int = 0, mode: str = "RGB") -> bytes:
    rng, buffer = np.random.default_rng(seed), io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def test_decode_gives_the_pixels_by_channel() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert torch.equal(decode(png(5, 7), "x"), torch.from_numpy(pixels).permute(2, 0, 1))


def test_decode_makes_grey_and_palette_images_rgb() -> None:
    grey = decode(png(5, 7, mode="L"), "x")
    assert grey.shape == (3, 5, 7)
    assert torch.equal(grey[0], grey[2])
    assert decode(png(5, 7, mode="P"), "x").shape == (3, 5, 7)
    assert decode(png(5, 7, mode="RGBA"), "x").shape == (3, 5, 7)


def test_decode_refuses_more_than_8_bits(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(
        ValueError, match=r"cannot decode the image deep.png: its pixels have more than 8 bits \(mode I;16"
    ):
        decode(tmp_path / "deep.png", "deep.png")


def test_resizing_keeps_the_middle_square() -> None:
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, 10:20] = 200
    buffer = io.BytesIO()
    Image.fromarray(stripes).save(buffer, "PNG")
    assert decode(buffer.getvalue(), "x", 10).unique().tolist() == [200]
    assert decode(png(9, 14), "x", 6).shape == (3, 6, 6)
    assert decode(png(3, 100), "x", 7).shape == (3, 7, 7)


@pytest.mark.parametrize(("height", "width"), [(8, 14), (14, 8), (8, 800), (800, 8)])
def test_the_square_is_in_the_middle_of_both_axes(height: int, width: int) -> None:
    content = png(height, width)
    top, left = (height - 8) // 2, (width - 8) // 2
    assert torch.equal(decode(content, "x", 8), decode(content, "x")[:, top : top + 8, left : left + 8])


@pytest.mark.parametrize("content", [b"", b"no image", png(9, 9)[:-30], png(9, 9)[:20]])
def test_a_corrupt_image_is_named(content: bytes) -> None:
    with pytest.raises(
        ValueError, match=r"cannot decode the image cats/1.png: .*; repair or remove it, or pass skip_cor"
    ):
        decode(content, "cats/1.png")


@pytest.mark.parametrize(
    ("height", "width", "in_memory"), [(64, 64, True), (64, 65, False), (65, 20, False), (8, 8, True)]
)
def test_images_above_64_pixels_are_not_held_decoded(height: int, width: int, in_memory: bool) -> None:
    images, kept, _ = load_encoded([png(height, width, i) for i in range(3)], ["a", "b", "c"], [2, 0, 1])
    assert isinstance(images, Images if in_memory else EncodedImages)
    assert kept == [0, 1, 2]
    assert images.shape == (height, width)
    assert images.labels.tolist() == [2, 0, 1]
    (first, second) = images.read([torch.tensor([2, 0]), torch.tensor([1])])
    assert torch.equal(first[0], decode(png(height, width, 2), "c"))
    assert torch.equal(first[1], decode(png(height, width, 0), "a"))
    assert torch.equal(second[0], decode(png(height, width, 1), "b"))


def test_size_decides_where_images_are_held() -> None:
    sources, names, labels = [png(70, 90, 1), png(30, 20, 2)], ["a", "b"], [0, 1]
    assert isinstance(load_encoded(sources, names, labels, size=64)[0], Images)
    large, *_ = load_encoded(sources, names, labels, size=66)
    assert isinstance(large, EncodedImages)
    (read,) = large.read([torch.tensor([0, 1])])
    assert read.shape == (2, 3, 66, 66)
    with pytest.raises(ValueError, match="size=0: expected a number of pixels above 0"):
        load_encoded(sources, names, labels, size=0)


@pytest.mark.parametrize("pixels", [20, 80])
def test_different_sizes_ask_for_size(pixels: int) -> None:
    with pytest.raises(
        ValueError,
        match=rf"b is \({pixels}, 21\) pixels, the images before it .*: resize them, as in --data FOLDER,size=64",
    ):
        load_encoded([png(pixels, pixels), png(pixels, 21)], ["a", "b"], [0, 0])


@pytest.mark.parametrize("pixels", [20, 80])
@pytest.mark.parametrize("broken", [0, 1, 2])
def test_corrupt_images_are_left_out_only_when_asked(pixels: int, broken: int) -> None:
    sources = [png(pixels, pixels, i) for i in range(3)]
    sources[broken] = sources[broken][:100]
    names, expected = ["a", "b", "c"], [i for i in range(3) if i != broken]
    images, kept, left_out = load_encoded(sources, names, [5, 6, 7], skip_corrupt=True)
    assert (kept, left_out) == (expected, [names[broken]])
    assert images.labels.tolist() == [5 + i for i in expected]
    (read,) = images.read([torch.tensor([0, 1])])
    assert torch.equal(read[1], decode(sources[expected[1]], "x"))
    with pytest.raises(ValueError, match=f"the image {names[broken]}"):
        list(load_encoded(sources, names, [5, 6, 7])[0].read([torch.arange(3)]))


def test_an_image_that_changed_its_size_since_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(70, 70))
    images, *_ = load_encoded([tmp_path / "a.png"], ["a.png"], [0])
    (tmp_path / "a.png").write_bytes(png(71, 70))
    with pytest.raises(ValueError, match=r"a.png is \(71, 70\), expected \(70, 70\)"):
        list(images.read([torch.tensor([0])]))


def test_select_and_digest_follow_the_images() -> None:
    images, *_ = load_encoded([png(70, 70, i) for i in range(4)], list("abcd"), [0, 1, 2, 3])
    chosen = images.select(torch.tensor([3, 1]))
    (read,) = chosen.read([torch.tensor([0, 1])])
    assert torch.equal(read, torch.stack([decode(png(70, 70, 3), "d"), decode(png(70, 70, 1), "b")]))
    assert chosen.labels.tolist() == [3, 1]
    assert len(chosen) == 2
    assert (
        chosen.digest() == images.select(torch.tensor([3, 1])).digest() != images.select(torch.tensor([1, 3])).digest()
    )
    other, *_ = load_encoded([png(70, 70, i + 1) for i in range(4)], list("abcd"), [0, 1, 2, 3])
    assert other.digest() != images.digest()


def test_a_long_strip_takes_no_memory_to_resize() -> None:
    from resource import RUSAGE_SELF, getrusage

    buffer = io.BytesIO()
    Image.new("RGB", (60_000, 2)).save(buffer, "PNG")
    before = getrusage(RUSAGE_SELF).ru_maxrss
    assert decode(buffer.getvalue(), "strip", 224).shape == (3, 224, 224)
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 200_000  # KB


@pytest.mark.parametrize("size", [None, 32, 100])
def test_a_bomb_is_one_line(size: int | None) -> None:
    header = b"".join(
        len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        for kind, data in (
            (b"IHDR", (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])),
            (b"IDAT", zlib.compress(b"\0" * 100)),
            (b"IEND", b""),
        )
    )
    with pytest.raises(ValueError, match=r"cannot decode the image bomb: .*decompression bomb"):
        load_encoded([b"\x89PNG\r\n\x1a\n" + header] * 2, ["bomb", "b"], [0, 1], size=size)


def test_sizes_are_bounded() -> None:
    with pytest.raises(ValueError, match="size=1000000: expected a number of pixels above 0, and at most 4096"):
        load_encoded([png(70, 70)], ["a"], [0], size=10**6)
