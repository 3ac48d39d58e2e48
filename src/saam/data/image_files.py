"""Read image files as a browser shows them: upright, and on white where they are transparent.

Training, ``saam explain`` and the page that ``saam page`` writes read a file alike.
"""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saam._core.files import read_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DECODING", "find_images", "open_image", "pixels_of", "require_8_bits", "upright_shape"]

DECODING = 2
"""Version of what the pixels of a file are; what is kept of decoded images depends on it."""

_UNREAD = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "PALM", "PDF", "WMF"}  # Pillow alone cannot decode these formats
_DEEP = ("I", "F")  # first letters of Pillow's modes with more than 8 bits per colour
_MARKED = ("LA", "La", "PA", "RGBA", "RGBa")  # modes with transparency
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # tag of EXIF, and its values that swap height and width
_LONGEST = 16  # times the shorter side; the rest is cut off before resizing


def find_images(files: Iterable[Path]) -> list[Path]:
    """Return the files, sorted, whose ending is that of a format that Pillow decodes; hidden files are left out."""
    from PIL import Image

    endings = {ending for ending, kind in Image.registered_extensions().items() if kind not in _UNREAD}
    return sorted(file for file in files if file.suffix.lower() in endings and not file.name.startswith("."))


def open_image(source: Path | bytes) -> "Image":
    """Open a file, or its content. It is decoded when its pixels are needed.

    Raises:
        ValueError: If it is no image.
        OSError: If it cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(source if isinstance(source, bytes) else read_bytes(source)))
    except UnidentifiedImageError as error:
        raise ValueError("it has no format that Pillow knows") from error


def require_8_bits(image: "Image") -> None:
    """Raise a ValueError if a grey image has more than 8 bits; Pillow opens colour images with 8 bits per colour."""
    if image.mode[0] in _DEEP:
        raise ValueError(f"its pixels have more than 8 bits (mode {image.mode}); convert it to 8 bits per colour")


def upright_shape(image: "Image") -> tuple[int, int]:
    """Return height and width of the upright image. Only a PNG is decoded for it."""
    turned = _orientation(image) in _ON_ITS_SIDE
    return (image.width, image.height) if turned else (image.height, image.width)


def pixels_of(image: "Image", size: int | None = None) -> Tensor:
    """Return the pixels of an image of Pillow, upright.

    The orientation in the EXIF data is applied. Transparent pixels lie on white. Of an animation the first frame is
    taken.

    Args:
        image: The image.
        size: Resize the shorter side to this many pixels (bilinear, antialiased) and crop the central square; None
            keeps the image as it is.

    Returns:
        uint8 (3, H, W).

    Raises:
        ValueError: If the image is grey and has more than 8 bits.
        OSError: If its file is incomplete.
    """
    import numpy as np
    from PIL import Image, ImageOps

    require_8_bits(image)
    upright = image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
    if upright.mode in _MARKED or "transparency" in upright.info:
        marked = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", marked.size, "white"), marked)
    rgb = upright.convert("RGB")
    if size is not None:
        rgb = _middle_square(rgb, size)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()


def _orientation(image: "Image") -> int:
    """Return the orientation in the EXIF data; 1, upright, if they are absent or damaged."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (SyntaxError, TypeError, ValueError):
        return 1


def _middle_square(rgb: "Image", size: int) -> "Image":
    from PIL import Image

    longest = _LONGEST * min(rgb.size)
    if max(rgb.size) > longest:
        left, top = max(0, rgb.width - longest) // 2, max(0, rgb.height - longest) // 2
        rgb = rgb.crop((left, top, min(rgb.width, left + longest), min(rgb.height, top + longest)))
    scale = size / min(rgb.size)
    width, height = max(size, round(rgb.width * scale)), max(size, round(rgb.height * scale))
    left, top = (width - size) // 2, (height - size) // 2
    return rgb.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
