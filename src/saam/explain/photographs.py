"""Read the user's own photographs, of any format, mode and size that Pillow decodes to 8 bits a colour."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saam._core.errors import one_line
from saam._core.files import read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["find_photographs", "pixels_of", "read_photograph", "read_photographs"]

_DEEP = ("I", "F")  # first letters of Pillow's modes with more than 8 bits a pixel
_MARKED = ("LA", "La", "PA", "RGBA", "RGBa")  # modes with transparency


def find_photographs(places: Sequence[str | Path]) -> list[Path]:
    """Return image files: those that are named, and those in the named folders, sorted by name.

    Args:
        places: Files, which are taken as they are, and folders, in which Pillow's file endings count. Subfolders and
            hidden files are left out.

    Returns:
        The files in the order of the places.

    Raises:
        FileNotFoundError: If a place does not exist, or a folder has no image.
    """
    from PIL import Image

    endings = Image.registered_extensions().keys() - {".pdf", ".mpg", ".mpeg"}
    found: list[Path] = []
    for place in map(Path, places):
        if not place.exists():
            raise FileNotFoundError(f"no image at {place}: name a file, or a folder of images")
        inside = sorted(place.iterdir()) if place.is_dir() else [place]
        if place.is_dir():
            inside = [file for file in inside if file.suffix.lower() in endings and not file.name.startswith(".")]
            inside = [file for file in inside if file.is_file()]
        if not inside:
            raise FileNotFoundError(f"no image in the folder {place}: expected files such as .jpg or .png in it")
        found += inside
    return found


def read_photographs(places: Sequence[str | Path]) -> tuple[list[tuple[Path, Tensor]], list[str]]:
    """Read the image files that are named, and those in the named folders; skip what cannot be read in a folder.

    Args:
        places: As for :func:`find_photographs`.

    Returns:
        Each file with its pixels, uint8 (3, H, W), in the order of the places; and a line about each skipped file.

    Raises:
        FileNotFoundError: If a place does not exist, or a folder has no image.
        ValueError: If a named file cannot be read, or all files are skipped.
    """
    named = {*map(Path, places)}
    found: list[tuple[Path, Tensor]] = []
    skipped: list[str] = []
    for file in find_photographs(places):
        try:
            found.append((file, read_photograph(file)))
        except (OSError, ValueError) as error:
            if file in named:
                raise
            skipped.append(f"skipped: {one_line(error)}")
    if skipped and not found:
        raise ValueError(f"no image of {len(skipped)} could be read; the first was {skipped[0]}")
    return found, skipped


def read_photograph(file: str | Path) -> Tensor:
    """Return the pixels of an image file.

    Returns:
        uint8 (3, H, W); see :func:`pixels_of`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded, or has more than 8 bits a colour.
    """
    from PIL import Image, UnidentifiedImageError

    content = read_bytes(Path(file))
    try:
        with Image.open(io.BytesIO(content)) as image:
            return pixels_of(image)
    except UnidentifiedImageError as error:
        raise ValueError(f"cannot read the image {file}: it has no format that Pillow knows") from error
    except Exception as error:  # its readers of many formats fail in many ways
        raise ValueError(f"cannot read the image {file}: {one_line(error)}") from error


def pixels_of(image: "Image") -> Tensor:
    """Return the pixels of an image of Pillow, upright.

    The orientation in the EXIF data is applied. Transparent pixels lie on white. Of an animation the first frame is
    taken.

    Returns:
        uint8 (3, H, W).

    Raises:
        ValueError: If the image has more than 8 bits a colour.
        OSError: If its file is incomplete.
    """
    import numpy as np
    from PIL import Image, ImageOps

    if image.mode[0] in _DEEP:
        raise ValueError(f"its pixels have more than 8 bits (mode {image.mode}); convert it to 8 bits a colour")
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _MARKED or "transparency" in upright.info:
        marked = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", marked.size, "white"), marked)
    return torch.from_numpy(np.array(upright.convert("RGB"))).permute(2, 0, 1).contiguous()
