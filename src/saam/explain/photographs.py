"""Read the user's own photographs, of any format, mode and size that Pillow decodes to 8 bits per colour."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from saam._core.errors import one_line
from saam._core.files import read_bytes
from saam.data.image_files import find_images, open_image, pixels_of

__all__ = ["find_photographs", "read_photograph", "read_photographs"]


def find_photographs(places: Sequence[str | Path]) -> list[Path]:
    """Return image files: those that are named, and those in the named folders, sorted by name.

    Args:
        places: Files, which are taken as they are, and folders, in which the files count that
            :func:`saam.data.image_files.find_images` finds. Subfolders are left out.

    Returns:
        The files in the order of the places.

    Raises:
        FileNotFoundError: If a place does not exist, or a folder has no image.
    """
    found: list[Path] = []
    for place in map(Path, places):
        if not place.exists():
            raise FileNotFoundError(f"no image at {place}: name a file, or a folder of images")
        inside = [file for file in find_images(place.iterdir()) if file.is_file()] if place.is_dir() else [place]
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
        uint8 (3, H, W); see :func:`saam.data.image_files.pixels_of`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded, or is grey with more than 8 bits.
    """
    content = read_bytes(Path(file))
    try:
        with open_image(content) as image:
            return pixels_of(image)
    except Exception as error:  # its readers of many formats fail in many ways
        raise ValueError(f"cannot read the image {file}: {one_line(error)}") from error
