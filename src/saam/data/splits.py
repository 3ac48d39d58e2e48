"""The pools of images of a data set, and the three disjoint splits drawn from them."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from saam._core.errors import printable
from saam.data.images import Images, ImageSource
from saam.data.kept import key_of, read_kept, write_kept

__all__ = [
    "Pools",
    "Splits",
    "build_splits",
    "complete_splits",
    "draw_splits",
    "split_indices",
]

Parts = tuple[ImageSource, ImageSource, ImageSource]  # train, validation, test
_Colour = tuple[float, float, float]
_Notes = tuple[str, ...]

_VERSION = 1  # of what is kept of many images: raise it when colours or notes are found otherwise
_MANY = 5_000  # train images
_NAMED = 5  # most names in a note


@dataclass(frozen=True, kw_only=True, eq=False)
class Pools:
    """The result of a loader: the images of a data set, before any are drawn for validation and test."""

    train: ImageSource
    validation: ImageSource | None = None
    """None: drawn from train."""
    test: ImageSource | None = None
    """None: drawn from train."""
    classes: Sequence[str]
    """Class names in label order."""
    label: str = ""
    """Label of the results; empty means the name of the data set."""
    augmentation: tuple[str, ...] = ("crop", "flip")
    """What is usual for these images."""
    left_out: Sequence[str] = ()
    """Names of images that were left out because they cannot be decoded."""

    @classmethod
    def divide(
        cls,
        images: ImageSource,
        parts: Sequence[str],
        *,
        classes: Sequence[str],
        label: str,
        left_out: Sequence[str] = (),
    ) -> Self:
        """Return the pools of a single set of images, given "train", "validation" or "test" for each."""
        train, validation, test = (
            [i for i, own in enumerate(parts) if own == part] for part in ("train", "validation", "test")
        )
        return cls(
            train=images.select(torch.tensor(train, dtype=torch.int64)),
            validation=images.select(torch.tensor(validation)) if validation else None,
            test=images.select(torch.tensor(test)) if test else None,
            classes=classes,
            label=label,
            left_out=left_out,
        )


@dataclass(frozen=True, eq=False)
class Splits:
    """A data set: train for training, validation for choices during training, and test for one final evaluation."""

    name: str
    """Name for :func:`saam.data.load_data`."""
    label: str
    """Label of the results."""
    classes: tuple[str, ...]
    """Class names in label order."""
    train: ImageSource
    validation: ImageSource
    test: ImageSource
    mean: tuple[float, float, float]
    """Means of red, green and blue of the training images, in 0..1; of a sample if they are not in memory."""
    std: tuple[float, float, float]
    """Standard deviations, likewise, and at least 1/255."""
    augmentation: tuple[str, ...]
    """What is usual for these images."""
    fingerprint: str
    """Hash of the content."""
    notes: tuple[str, ...] = ()
    """Notes on the data, each a sentence, such as test images that repeat training images."""


def build_splits(
    train: ImageSource,
    validation: ImageSource,
    test: ImageSource,
    *,
    name: str,
    label: str,
    classes: Sequence[str],
    augmentation: tuple[str, ...],
    left_out: Sequence[str] = (),
) -> Splits:
    """Check the three splits against each other and add mean, standard deviation and fingerprint.

    Raises:
        ValueError: If a split is empty, a label is not a class, or splits have images of different shapes.
    """
    for part, images in (("train", train), ("validation", validation), ("test", test)):
        if not len(images):
            raise ValueError(f"the {part} split of {label} is empty; give it images or a larger share")
        low, high = int(images.labels.min()), int(images.labels.max())
        if low < 0 or high >= len(classes):
            wrong = low if low < 0 else high
            raise ValueError(
                f"the {part} split of {label} has the label {wrong}, expected 0 to {len(classes) - 1} "
                f"for its {len(classes)} classes; correct the labels or leave those images out"
            )
        if images.shape != train.shape:
            raise ValueError(
                f"the {part} images of {label} are {images.shape}, the train images {train.shape}; give size="
            )
    label, classes = printable(label), [printable(name) for name in classes]
    digests = "".join(images.digest() for images in (train, validation, test))
    fingerprint = hashlib.sha256(f"{digests}{list(classes)}".encode()).hexdigest()[:16]
    mean, std, notes = _facts(train, validation, test, key_of(_VERSION, digests))
    counts = test.labels.bincount(minlength=len(classes)).tolist()
    untested = [name for name, count in zip(classes, counts, strict=True) if not count]
    notes += _named("no test image of", untested, "class", "classes")
    notes += _named("left out", left_out, "image that cannot be decoded", "images that cannot be decoded")
    return Splits(name, label, tuple(classes), train, validation, test, mean, std, augmentation, fingerprint, notes)


def _facts(train: ImageSource, validation: ImageSource, test: ImageSource, key: str) -> tuple[_Colour, _Colour, _Notes]:
    """Return mean and deviation of the colours, and notes; for many images they are kept in the cache folder."""
    many = len(train) >= _MANY
    known = read_kept("colours", key) if many else None
    if known is None:
        mean, std = _colour_statistics(train)
        known = {"mean": mean, "std": std, "notes": _repeated(train, validation, test)}
        if many:
            write_kept("colours", key, known)
    return tuple(known["mean"]), tuple(known["std"]), tuple(known["notes"])


def _repeated(train: ImageSource, validation: ImageSource, test: ImageSource) -> tuple[str, ...]:
    """Report how many validation or test images are also among the training images."""
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


def _named(what: str, names: Sequence[str], one: str, several: str) -> _Notes:
    """Return a note with the number and the first of the names, if there are any."""
    shown = ", ".join(map(printable, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")
    return (f"{what} {len(names):,} {one if len(names) == 1 else several}: {shown}",) if names else ()


def split_indices(
    labels: Tensor, *, validation: float = 0.0, test: float = 0.0, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Divide images at random among train, validation and test, with all classes in proportion.

    Args:
        labels: int64 (N,).
        validation: A share of all images if below 1, otherwise their number; 0 for none, otherwise at least one.
        test: Likewise for test.
        seed: Seed of the draw.

    Returns:
        Sorted indices of train, validation and test; together they are 0 to N - 1, each once.

    Raises:
        ValueError: If a share or number is below 0, or nothing is left for train.
    """
    total = len(labels)
    counts = []
    for part, share in (("validation", validation), ("test", test)):
        if not 0 <= share < math.inf or (share >= 1 and share != int(share)):
            raise ValueError(f"{part}={share}: expected a share from 0 to below 1, or a whole number of images")
        counts.append(max(1, round(share * total)) if 0 < share < 1 else int(share))
    if total and int(labels.min()) < 0:
        raise ValueError(f"labels must be whole numbers from 0 on, got {int(labels.min())}")
    if sum(counts) >= total:
        raise ValueError(
            f"{total} images cannot give {counts[0]} for validation, {counts[1]} for test and some for train; "
            "take smaller shares or more images"
        )
    # Rank of an image within its class, as a share of the class: the first k by it have all classes in proportion.
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


def draw_splits(
    pools: Pools, /, *, name: str, validation: float = 0.1, test: float = 0.1, seed: int = 0, limit: int | None = None
) -> Splits:
    """Draw the splits of a data set from its pools. Every data set uses this function.

    Args:
        pools: Result of its loader.
        name: Name for :func:`saam.data.load_data`.
        validation: Share (below 1) or number of training images drawn for validation, if there is no such pool.
        test: Likewise for test.
        seed: Seed of these draws.
        limit: Largest number of images in each split, with all classes in proportion; None keeps all.

    Raises:
        ValueError: As in :func:`split_indices` and :func:`build_splits`, or if the limit is below 1.
    """
    parts = complete_splits(pools, validation=validation, test=test, seed=seed)
    return build_splits(
        *(parts if limit is None else _limited(parts, limit, seed)),
        name=name,
        label=pools.label or name,
        classes=pools.classes,
        augmentation=pools.augmentation,
        left_out=pools.left_out,
    )


def complete_splits(pools: Pools, *, validation: float, test: float, seed: int) -> Parts:
    """Return images for train, validation and test. Missing pools are drawn from train as in :func:`split_indices`.

    Raises:
        ValueError: As in :func:`split_indices`.
    """
    used, held, tested = split_indices(
        pools.train.labels,
        validation=validation if pools.validation is None else 0,
        test=test if pools.test is None else 0,
        seed=seed,
    )
    return (
        pools.train.select(used) if len(used) < len(pools.train) else pools.train,
        pools.validation or pools.train.select(held),
        pools.test or pools.train.select(tested),
    )


def _limited(parts: Parts, limit: int, seed: int) -> Parts:
    if limit < 1:
        raise ValueError(f"limit={limit}: expected at least one image for each split")
    train, validation, test = (
        images if len(images) <= limit else images.select(split_indices(images.labels, test=limit, seed=seed)[2])
        for images in parts
    )
    return train, validation, test


def _colour_statistics(images: ImageSource) -> tuple[_Colour, _Colour]:
    """Return mean and deviation of the three colours, in 0..1; of 512 evenly spaced images if not in memory."""
    sample = len(images) if isinstance(images, Images) else min(len(images), 512)
    chosen = torch.linspace(0, len(images) - 1, sample, dtype=torch.float64).long()
    sums, squares = torch.zeros(2, 3, dtype=torch.int64)
    for pixels in images.read(torch.split(chosen, 64)):
        values = pixels.int()  # whole numbers: the sums are exact
        sums += values.sum(dim=(0, 2, 3))
        squares += values.square_().sum(dim=(0, 2, 3))
    count = sample * images.shape[0] * images.shape[1]
    mean = sums.double() / count
    std = (squares.double() / count - mean.square()).clamp(min=1.0).sqrt()
    return _triple(mean / 255), _triple(std / 255)


def _triple(values: Tensor) -> _Colour:
    red, green, blue = values.tolist()
    return red, green, blue
