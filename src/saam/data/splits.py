"""Images with labels, and the three splits of a data set, which never mix."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from saam._errors import printable

__all__ = ["ImageSource", "Images", "Splits", "build_splits", "complete_splits", "limit_splits", "split_indices"]


class ImageSource(Protocol):
    """What splits and batches ask of images, wherever they are held."""

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
        """For each image a hash of what it shows, so that equal ones are found."""


Source = TypeVar("Source", bound=ImageSource)


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images in memory."""

    images: Tensor
    """uint8 (N, 3, H, W)."""
    labels: Tensor
    """int64 (N,)."""
    masks: Tensor | None = None
    """bool (N, H, W), true on the object; None where the data have no masks."""

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4 or self.images.shape[1] != 3:
            raise ValueError(f"expected uint8 (N, 3, H, W) images, got {self.images.dtype} {tuple(self.images.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"expected int64 labels, one for each of {len(self.images)} images, "
                f"got {self.labels.dtype} {tuple(self.labels.shape)}"
            )
        shape = (len(self.images), *self.images.shape[2:])
        if self.masks is not None and (self.masks.dtype != torch.bool or self.masks.shape != shape):
            raise ValueError(f"expected bool {shape} masks, got {self.masks.dtype} {tuple(self.masks.shape)}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.images.shape[2], self.images.shape[3]

    def select(self, indices: Tensor) -> Self:
        """Return the images at these indices (n,)."""
        masks = None if self.masks is None else self.masks[indices]
        return type(self)(self.images[indices], self.labels[indices], masks)

    def read(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the uint8 images (n, 3, H, W) at each chunk of indices (n,)."""
        for chunk in chunks:
            yield self.images[chunk]

    def digest(self) -> str:
        """Return a hash of pixels and labels."""
        sha = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for tensor in (self.images, self.labels):
            for part in torch.split(tensor, 1024):
                sha.update(part.contiguous().numpy().data)
        return sha.hexdigest()

    @property
    def hashes(self) -> list[bytes]:
        """For each image a hash of its pixels."""
        parts = (part.contiguous().numpy() for part in torch.split(self.images, 1024))
        return [hashlib.sha256(image.data).digest() for part in parts for image in part]


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set: what is trained on, what may steer training, and what is opened once, at the end."""

    name: str
    """As :func:`saam.data.load_data` takes it."""
    label: str
    """How results on it are to be labelled."""
    classes: tuple[str, ...]
    """Class names in label order."""
    train: ImageSource
    validation: ImageSource
    test: ImageSource
    mean: tuple[float, float, float]
    """Of the train images' red, green and blue, in 0..1; of a sample of them where they are not in memory."""
    std: tuple[float, float, float]
    """The same, never below 1/255."""
    augmentation: tuple[str, ...]
    """What is usual for these images."""
    fingerprint: str
    """Hash of the content."""
    notes: tuple[str, ...] = ()
    """What is to be said of the data, each a sentence: test images that repeat train images."""


def build_splits(
    train: ImageSource,
    validation: ImageSource,
    test: ImageSource,
    *,
    name: str,
    label: str,
    classes: Sequence[str],
    augmentation: tuple[str, ...],
) -> Splits:
    """Check the three splits against each other and add mean, standard deviation and fingerprint.

    Raises:
        ValueError: an empty split, a label that is no class, or splits with images of different shapes.
    """
    for part, images in (("train", train), ("validation", validation), ("test", test)):
        if not len(images):
            raise ValueError(f"the {part} split of {label} is empty; give it images or a larger share")
        low, high = int(images.labels.min()), int(images.labels.max())
        if low < 0 or high >= len(classes):
            wrong = low if low < 0 else high
            raise ValueError(
                f"the {part} split of {label} has the label {wrong}, expected 0 to {len(classes) - 1} "
                f"for its {len(classes)} classes; mend the labels or leave those images out"
            )
        if images.shape != train.shape:
            raise ValueError(
                f"the {part} images of {label} are {images.shape}, the train images {train.shape}; give size="
            )
    mean, std = _colour_statistics(train)
    label, classes = printable(label), [printable(name) for name in classes]
    digests = "".join(images.digest() for images in (train, validation, test))
    fingerprint = hashlib.sha256(f"{digests}{list(classes)}".encode()).hexdigest()[:16]
    notes = _repeated(train, validation, test)
    return Splits(name, label, tuple(classes), train, validation, test, mean, std, augmentation, fingerprint, notes)


def _repeated(train: ImageSource, validation: ImageSource, test: ImageSource) -> tuple[str, ...]:
    """Say how many images that scores are taken from are among the train images too."""
    seen = set(train.hashes)
    notes = []
    for part, images in (("validation", validation), ("test", test)):
        count = sum(content in seen for content in images.hashes)
        if count:
            notes.append(
                f"{count:,} of {len(images):,} {part} images repeat train images: scores on them say little about new "
                "images; remove the copies, or keep all copies of an image in one split"
            )
    return tuple(notes)


def split_indices(
    labels: Tensor, *, validation: float = 0.0, test: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Divide images at random among train, validation and test, each with all classes in proportion.

    Args:
        labels: int64 (N,).
        validation: below 1 a share of all images, otherwise their number; 0 for none, above that at least one.
        test: the same.
        seed: of the draw.

    Returns:
        Indices of train, validation and test, sorted; together they are 0 to N - 1, each once.

    Raises:
        ValueError: a share or number below 0, or nothing left for train.
    """
    total = len(labels)
    counts = []
    for part, share in (("validation", validation), ("test", test)):
        if not 0 <= share < math.inf or (share >= 1 and share != int(share)):
            raise ValueError(f"{part}={share}: expected a share from 0 to below 1, or a whole number of images")
        counts.append(max(1, round(share * total)) if 0 < share < 1 else int(share))
    if sum(counts) >= total:
        raise ValueError(
            f"{total} images cannot give {counts[0]} for validation, {counts[1]} for test and some for train; "
            "take smaller shares or more images"
        )
    # An image's rank within its class, as a share of the class: the first k by it hold every class in proportion.
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    grouped = labels[order].argsort(stable=True)
    sizes = labels.bincount()
    ranks = torch.empty(total, dtype=torch.float64)
    starts = sizes.cumsum(0) - sizes
    ranks[grouped] = torch.arange(total, dtype=torch.float64) + 0.5
    ranks = (ranks - starts[labels[order]]) / sizes[labels[order]]
    drawn = order[ranks.argsort(stable=True)]
    held, used = drawn[: sum(counts)], drawn[sum(counts) :]
    return used.sort().values, held[: counts[0]].sort().values, held[counts[0] :].sort().values


def complete_splits(
    images: Source, parts: Sequence[str], *, validation: float, test: float, seed: int
) -> tuple[Source, Source, Source]:
    """Divide a pool of images into train, validation and test; what it does not have is drawn from its train images.

    Args:
        images: N images.
        parts: "train", "validation" or "test" for each.
        validation: as :func:`split_indices` takes it; not read where the pool has validation images.
        test: the same.
        seed: of the draw.

    Raises:
        ValueError: as :func:`split_indices`.
    """
    given = {part: [i for i, own in enumerate(parts) if own == part] for part in ("train", "validation", "test")}
    pool, held, tested = (torch.tensor(indices, dtype=torch.int64) for indices in given.values())
    drawn = split_indices(
        images.labels[pool],
        validation=0 if len(held) else validation,
        test=0 if len(tested) else test,
        seed=seed,
    )
    train, more_held, more_tested = (pool[indices] for indices in drawn)
    return (
        images.select(train),
        images.select(torch.cat([held, more_held])),
        images.select(torch.cat([tested, more_tested])),
    )


def limit_splits(splits: Splits, limit: int, *, seed: int = 0) -> Splits:
    """Keep at most ``limit`` images of each split, drawn with all classes in proportion."""
    if limit < 1:
        raise ValueError(f"limit={limit}: expected at least one image for each split")
    kept = (
        images if len(images) <= limit else images.select(split_indices(images.labels, test=limit, seed=seed)[2])
        for images in (splits.train, splits.validation, splits.test)
    )
    return build_splits(
        *kept, name=splits.name, label=splits.label, classes=splits.classes, augmentation=splits.augmentation
    )


def _colour_statistics(images: ImageSource) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of the three colours, in 0..1; of 512 evenly spaced images where not in memory."""
    sample = len(images) if isinstance(images, Images) else min(len(images), 512)
    chosen = torch.linspace(0, len(images) - 1, sample, dtype=torch.float64).long()
    count, total, squares = 0, torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    for pixels in images.read(torch.split(chosen, 64)):
        count += pixels[:, 0].numel()
        total += pixels.sum(dim=(0, 2, 3))
        squares += pixels.int().square().sum(dim=(0, 2, 3))
    mean = total.double() / count
    std = (squares.double() / count - mean.square()).clamp(min=1.0).sqrt()
    return _triple(mean / 255), _triple(std / 255)


def _triple(values: Tensor) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue
