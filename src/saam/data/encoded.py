"""Encoded images (JPEG, PNG...): small ones are decoded into memory, large ones when a batch needs them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from saam._core.files import read_bytes
from saam.data.image_files import DECODING, open_image, pixels_of, require_8_bits, upright_shape
from saam.data.images import Images
from saam.data.pixel_cache import pixels_key, read_pixels, write_pixels

__all__ = ["IN_MEMORY", "EncodedImages", "decode", "decoded_before", "load_encoded"]

IN_MEMORY = 64
"""Images with at most this many pixels along both sides are kept decoded in memory."""

_WORTH_KEEPING = 2**20  # bytes of encoded images; fewer decode quickly and are not cached
_LARGEST = 4096  # largest side of the square images in pixels
_TURNED_PNG = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")  # a PNG without these has no orientation


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Labelled images that are decoded and resized when they are read."""

    sources: tuple[Path | bytes, ...]
    """Files or their contents."""
    names: tuple[str, ...]
    """Names for error messages; also part of the digest."""
    labels: Tensor
    """int64 (N,)."""
    shape: tuple[int, int]
    """Height and width after reading."""
    size: int | None
    """Argument of :func:`decode`."""
    hashes: tuple[bytes, ...]
    """Hashes of the contents of the files."""
    workers: int = 0
    """Number of processes that decode; 0 means the calling process."""

    def __len__(self) -> int:
        return len(self.sources)

    def select(self, indices: Tensor) -> Self:
        """Return the images at these indices (n,)."""
        chosen = indices.tolist()
        sources, names = tuple(self.sources[i] for i in chosen), tuple(self.names[i] for i in chosen)
        hashes = tuple(self.hashes[i] for i in chosen)
        return type(self)(sources, names, self.labels[indices], self.shape, self.size, hashes, self.workers)

    def read(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the uint8 images (n, 3, H, W) at each chunk of indices (n,).

        Raises:
            ValueError: If an image cannot be decoded or has another shape; the message names it.
        """
        yield from DataLoader(
            _Decoded(self),
            batch_sampler=[chunk.tolist() for chunk in chunks],
            num_workers=self.workers,
            generator=torch.Generator().manual_seed(0),  # otherwise the loader draws a seed from the global generator
        )

    def digest(self) -> str:
        """Return a hash of names, labels, shape and contents, and of how they are decoded."""
        sha = hashlib.sha256(repr((DECODING, self.names, self.labels.tolist(), self.shape)).encode())
        for content in self.hashes:
            sha.update(content)
        return sha.hexdigest()


class _Decoded(Dataset[Tensor]):
    def __init__(self, images: EncodedImages) -> None:
        self.images = images

    def __getitem__(self, index: int) -> Tensor:
        images = self.images
        pixels = decode(images.sources[index], images.names[index], images.size)
        if pixels.shape[1:] != images.shape:
            raise ValueError(f"{images.names[index]} is {tuple(pixels.shape[1:])}, expected {images.shape}; give size=")
        return pixels


def decode(source: Path | bytes, name: str, size: int | None = None) -> Tensor:
    """Decode an image: upright, and on white where it is transparent.

    Args:
        source: A file or its content.
        name: Name for error messages.
        size: Argument of :func:`saam.data.image_files.pixels_of`.

    Returns:
        uint8 (3, H, W).

    Raises:
        ValueError: If the image is incomplete, or grey with more than 8 bits.
    """
    try:
        with open_image(source) as image:
            return pixels_of(image, size)
    except Exception as error:  # its readers of many formats fail in many ways
        raise _not_whole(name, error) from error


def load_encoded(
    sources: Sequence[Path | bytes],
    names: Sequence[str],
    labels: Sequence[int],
    *,
    size: int | None = None,
    skip_corrupt: bool = False,
    workers: int = 0,
) -> tuple[Images | EncodedImages, list[int], list[str]]:
    """Decode small images into memory. Large images are only checked and decoded when read.

    Small images are decoded once. After that they come from the cache folder, as long as their contents do not change.

    Args:
        sources: N files or their contents.
        names: Names for error messages.
        labels: N class numbers.
        size: Side of the square images in pixels; None keeps the size, which must be the same for all.
        skip_corrupt: Whether to leave out images that cannot be decoded. This decodes all images now, including large
            ones.
        workers: Number of processes that decode large images while they are read.

    Returns:
        The images, the indices of those that were kept, and the names of those that were left out.

    Raises:
        ValueError: If images differ in size and ``size`` is None, or an image that is decoded here is corrupt.
    """
    if size is not None and not 0 < size <= _LARGEST:
        raise ValueError(f"size={size}: expected a number of pixels above 0, and at most {_LARGEST}")
    known = _contents(sources, size)
    key = pixels_key(known, size)
    if known and (images := decoded_before(key, labels)) is not None:
        return images, list(range(len(sources))), []
    shape, decoded, kept, hashes = (size, size) if size else None, [], [], list[bytes]()
    left_out: list[str] = []
    for index, (source, name) in enumerate(zip(sources, names, strict=True)):
        try:
            content = source if isinstance(source, bytes) else _content(source, name)
            if shape and max(shape) > IN_MEMORY and not skip_corrupt:
                own = _shape(content, name)
                found = shape if size else own
            else:
                pixels = decode(content, name, size)
                found = pixels.shape[1], pixels.shape[2]
                if max(found) <= IN_MEMORY:
                    decoded.append(pixels)
        except ValueError:
            if not skip_corrupt:
                raise
            left_out.append(name)
            continue
        shape = shape or found
        if found != shape:
            raise ValueError(
                f"{name} is {found} pixels, the images before it {shape}: resize them, as in --data FOLDER,size=64 "
                "(size=64 in Python); photographs usually take 224"
            )
        kept.append(index)
        hashes.append(hashlib.sha256(content).digest())
    wanted = torch.tensor([labels[i] for i in kept], dtype=torch.int64)
    if shape is None or max(shape) <= IN_MEMORY:
        pixels = torch.stack(decoded) if decoded else torch.empty(0, 3, 1, 1, dtype=torch.uint8)
        if known and known == hashes:  # otherwise an image was left out or has changed
            write_pixels(key, pixels)
            if (images := decoded_before(key, labels)) is not None:
                return images, kept, left_out
        return Images(pixels, wanted), kept, left_out
    chosen = tuple(sources[i] for i in kept), tuple(names[i] for i in kept)
    return EncodedImages(*chosen, wanted, shape, size, tuple(hashes), workers), kept, left_out


def decoded_before(key: str, labels: Sequence[int]) -> Images | None:
    """Return the images with these labels from the cache folder, mapped into memory; None where they are not there.

    Args:
        key: As :attr:`Images.key` has it of images that were loaded before.
        labels: N class numbers.
    """
    pixels = read_pixels(key, len(labels))
    if pixels is None:
        return None
    rows = torch.arange(len(pixels))
    return Images(pixels, torch.tensor(labels, dtype=torch.int64), rows=rows, key=key)


def _contents(sources: Sequence[Path | bytes], size: int | None) -> list[bytes]:
    """Return hashes of images that the cache folder may have; none if they are large, few, or not all readable."""
    hashes, total = list[bytes](), 0
    try:
        if size is None and sources:
            with open_image(sources[0]) as first:
                size = max(first.size)
        if size is None or size > IN_MEMORY:
            return []
        for source in sources:
            content = source if isinstance(source, bytes) else read_bytes(source)
            hashes.append(hashlib.sha256(content).digest())
            total += len(content)
    except Exception:  # errors are reported, or skipped, when the image is decoded
        return []
    return hashes if total >= _WORTH_KEEPING else []


def _content(file: Path, name: str) -> bytes:
    try:
        return read_bytes(file)
    except (OSError, ValueError) as error:
        raise _not_whole(name, error) from error


def _shape(content: bytes, name: str) -> tuple[int, int]:
    """Return height and width of the upright image, after checking its depth and that it is complete."""
    try:
        with open_image(content) as image:
            require_8_bits(image)
            if image.format == "PNG" and not any(mark in content for mark in _TURNED_PNG):
                shape = image.height, image.width
                image.verify()  # all checksums, without decoding
                return shape
            if image.format != "JPEG" or b"\xff\xd9" not in content[-1024:]:
                image.load()
            return upright_shape(image)
    except Exception as error:  # its readers of many formats fail in many ways
        raise _not_whole(name, error) from error


def _not_whole(name: str, error: Exception) -> ValueError:
    return ValueError(f"cannot decode the image {name}: {error}; repair or remove it, or pass skip_corrupt=true")
