"""Images with labels, in memory or in a memory-mapped file."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, Self

import torch
from torch import Tensor

from saam.data.kept import key_of, read_kept, write_kept

__all__ = ["ImageSource", "Images"]


class ImageSource(Protocol):
    """The interface of images to splits and batches, wherever they are stored."""

    @property
    def labels(self) -> Tensor:
        """int64 (N,)."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, the same for all images."""

    def __len__(self) -> int: ...

    def select(self, indices: Tensor) -> Self:
        """Return the images at these indices (n,)."""

    def read(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the uint8 images (n, 3, H, W) at each chunk of indices (n,)."""

    def digest(self) -> str:
        """Return a hash of pixels and labels."""

    @property
    def hashes(self) -> Sequence[bytes]:
        """Return for each image a hash of its content, to find equal images."""


class Images:
    """Labelled images in memory.

    Args:
        images: uint8 (N, 3, H, W).
        labels: int64 (N,).
        masks: bool (N, H, W), true on the object; None where the data have no masks.
        rows: int64 (N,), the rows of ``images`` to use; None uses all in order. They are read on demand, so that
            processes share the file if ``images`` is memory-mapped.
        key: Key of ``images`` in the cache folder; empty if they are not there.

    Raises:
        ValueError: If a tensor has another type or shape.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        masks: Tensor | None = None,
        *,
        rows: Tensor | None = None,
        key: str = "",
    ) -> None:
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"expected uint8 (N, 3, H, W) images, got {images.dtype} {tuple(images.shape)}")
        count = len(images if rows is None else rows)
        if labels.dtype != torch.int64 or labels.shape != (count,):
            raise ValueError(
                f"expected int64 labels, one for each of {count} images, got {labels.dtype} {tuple(labels.shape)}"
            )
        shape = (count, *images.shape[2:])
        if masks is not None and (masks.dtype != torch.bool or masks.shape != shape):
            raise ValueError(f"expected bool {shape} masks, got {masks.dtype} {tuple(masks.shape)}")
        self.labels, self.masks, self.key = labels, masks, key
        self._all, self._rows = images, rows

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> Tensor:
        """uint8 (N, 3, H, W); a copy if these are selected rows of a file."""
        return self._all if self._rows is None else self._all[self._rows]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self._all.shape[2], self._all.shape[3]

    def select(self, indices: Tensor) -> Self:
        """Return the images at these indices (n,)."""
        labels, masks = self.labels[indices], None if self.masks is None else self.masks[indices]
        if self._rows is None:
            return type(self)(self._all[indices], labels, masks)
        return type(self)(self._all, labels, masks, rows=self._rows[indices], key=self.key)

    def read(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the uint8 images (n, 3, H, W) at each chunk of indices (n,)."""
        for chunk in chunks:
            yield self._all[chunk if self._rows is None else self._rows[chunk]]

    def digest(self) -> str:
        """Return a hash of pixels and labels; that of images in the cache folder is kept there too."""
        if not self.key or self._rows is None:
            return self._digest()
        key = key_of(self.key, *(hashlib.sha256(part.numpy().data).digest() for part in (self._rows, self.labels)))
        if (kept := read_kept("digest", key)) is None:
            kept = {"digest": self._digest()}
            write_kept("digest", key, kept)
        return str(kept["digest"])

    def _digest(self) -> str:
        sha = hashlib.sha256(repr((len(self), *self._all.shape[1:])).encode())
        for part in (*self._parts(), self.labels):
            sha.update(part.contiguous().numpy().data)
        return sha.hexdigest()

    @property
    def hashes(self) -> list[bytes]:
        """Return for each image a hash of its pixels."""
        return [hashlib.sha256(image.data).digest() for part in self._parts() for image in part.contiguous().numpy()]

    def _parts(self) -> Iterator[Tensor]:
        return self.read(torch.split(torch.arange(len(self)), 1024))
