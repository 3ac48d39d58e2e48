import numpy as np
import pytest
import torch
from PIL import Image

from saam.explain import find_photographs, read_photograph
from saam.explain.photographs import read_photographs

RED, BLUE = (255, 0, 0), (0, 0, 255)


def two_colours() -> Image.Image:
    """Return 4 x 2 pixels, red above blue."""
    return Image.fromarray(np.array([[RED] * 4, [BLUE] * 4], dtype=np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "YCbCr"])
def test_every_mode_becomes_three_colours(mode, tmp_path):
    white = Image.new("RGB", (5, 3), "white").convert(mode)
    file = tmp_path / ("image.tif" if mode in ("CMYK", "YCbCr") else "image.png")
    white.save(file)
    read = read_photograph(file)
    assert read.dtype == torch.uint8
    assert read.shape == (3, 3, 5)
    assert (read == 255).all()


def test_the_orientation_of_a_camera_is_applied(tmp_path):
    exif = Image.Exif()
    exif[274] = 6  # the camera was turned: the picture is to be rotated clockwise
    two_colours().save(tmp_path / "turned.png", exif=exif)
    turned = read_photograph(tmp_path / "turned.png")
    assert turned.shape == (3, 4, 2)
    assert turned[:, 0, 0].tolist() == list(BLUE)
    assert turned[:, 0, 1].tolist() == list(RED)


@pytest.mark.parametrize("palette", [False, True])
def test_transparent_pixels_lie_on_white(palette, tmp_path):
    if palette:
        image = Image.new("P", (2, 1), 0)
        image.putpalette([*RED, *BLUE])
        image.putpixel((1, 0), 1)
        image.save(tmp_path / "image.png", transparency=0)
    else:
        Image.fromarray(np.array([[(*RED, 0), (*BLUE, 255)]], dtype=np.uint8)).save(tmp_path / "image.png")
    assert read_photograph(tmp_path / "image.png").permute(1, 2, 0).tolist() == [[[255, 255, 255], list(BLUE)]]


def test_what_cannot_be_read_is_named(tmp_path):
    deep = tmp_path / "deep.png"
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(deep)
    with pytest.raises(ValueError, match=r"deep.png: its pixels have more than 8 bits \(mode I;16\); convert it"):
        read_photograph(deep)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"cannot read the image .*cut.jpg: .*truncated"):
        read_photograph(tmp_path / "cut.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(ValueError, match=r"text.jpg: it has no format that Pillow knows$"):
        read_photograph(tmp_path / "text.jpg")


def test_folders_give_their_images_in_order(tmp_path):
    for name in ("b.png", "a.JPG", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "inner").mkdir()
    (tmp_path / "sub.png").mkdir()
    assert [file.name for file in find_photographs([tmp_path / "notes.txt", tmp_path])] == [
        "notes.txt",
        "a.JPG",
        "b.png",
    ]
    with pytest.raises(FileNotFoundError, match=r"no image in the folder .*inner: expected files such as .jpg or .png"):
        find_photographs([tmp_path / "inner"])
    with pytest.raises(FileNotFoundError, match=r"no image at .*gone.jpg: name a file, or a folder of images"):
        find_photographs([tmp_path / "gone.jpg"])


def test_files_of_a_folder_that_cannot_be_read_are_skipped_and_named(tmp_path):
    two_colours().save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_text("hello")
    found, skipped = read_photographs([tmp_path])
    assert [(file.name, tuple(pixels.shape)) for file, pixels in found] == [("good.png", (3, 2, 4))]
    assert skipped == [f"skipped: cannot read the image {tmp_path / 'bad.png'}: it has no format that Pillow knows"]
    with pytest.raises(ValueError, match=r"^cannot read the image .*bad.png"):
        read_photographs([tmp_path / "good.png", tmp_path / "bad.png"])
    (tmp_path / "good.png").unlink()
    with pytest.raises(ValueError, match=r"no image of 1 could be read; the first was skipped: .*bad.png"):
        read_photographs([tmp_path])
