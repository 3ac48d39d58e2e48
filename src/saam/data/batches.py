"""Batches of normalised images. Order and augmentation depend only on seed and epoch."""

import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from saam.data.augmentation import augment, require_augmentation
from saam.data.images import ImageSource
from saam.data.splits import Splits

__all__ = ["Batches", "normalise", "score_batches", "train_batches"]


class Batches:
    """Images in batches, for a training loop.

    Use ``for x, y in batches.epoch(3)`` for one epoch; iterating over the object itself is epoch 0. The order and each
    augmentation have separate generators, all derived from seed and epoch. So an additional augmentation changes
    neither the order nor the draws of the others, and the global generator is not used.

    Args:
        images: Images in memory or encoded.
        batch_size: B; the last batch may be smaller.
        mean: Means of red, green and blue, in 0..1, as in ``Splits``.
        std: Standard deviations, likewise.
        augmentation: Names, applied in this order (see ``list_augmentations``).
        seed: Seed of order and augmentation.
        shuffle: Whether each epoch has a new order.
        drop_last: Whether to leave out a last batch that is smaller.
        mixup: Alpha of mixup (Zhang et al., arXiv 1710.09412), which blends each image and its label with another one
            of the batch; the share of the first is drawn from Beta(alpha, alpha) once per batch. 0 disables it.
        classes: Number of classes; only used by mixup.

    Raises:
        ValueError: If there are no images, the batch size is below 1, the augmentation is unknown, or mixup is below 0
            or has no classes.
    """

    def __init__(
        self,
        images: ImageSource,
        *,
        batch_size: int,
        mean: Sequence[float],
        std: Sequence[float],
        augmentation: Sequence[str] = (),
        seed: int = 0,
        shuffle: bool = False,
        drop_last: bool = False,
        mixup: float = 0.0,
        classes: int = 0,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: expected at least 1")
        if len(images) < (batch_size if drop_last else 1):
            raise ValueError(f"{len(images)} images make no batch of {batch_size}; use more images or a smaller batch")
        for name in augmentation:
            require_augmentation(name)
        if not 0 <= mixup < math.inf or (mixup and classes < 1):
            raise ValueError(f"mixup={mixup} with classes={classes}: expected 0 or above, and the number of classes")
        self.mixup, self.classes = mixup, classes
        self.images, self.batch_size, self.mean, self.std = images, batch_size, tuple(mean), tuple(std)
        self.augmentation, self.seed, self.shuffle, self.drop_last = tuple(augmentation), seed, shuffle, drop_last

    def __len__(self) -> int:
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(0)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised float32 images (B, 3, H, W) and int64 labels (B,); with mixup, probabilities (B, classes)."""
        order = torch.arange(len(self.images))
        if self.shuffle:
            order = torch.randperm(len(order), generator=self._generator("order", epoch))
        chunks = torch.split(order, self.batch_size)[: len(self)]
        generators = [self._generator(name, epoch) for name in self.augmentation]
        shares = random.Random(f"{self.seed}/{epoch}/mixup")
        for chunk, x in zip(chunks, self.images.read(chunks), strict=True):
            for name, generator in zip(self.augmentation, generators, strict=True):
                x = augment(x, name, generator)
            x, y = normalise(x, self.mean, self.std), self.images.labels[chunk]
            if self.mixup:
                share = shares.betavariate(self.mixup, self.mixup)
                y = one_hot(y, self.classes).float()
                x, y = share * x + (1 - share) * x.flip(0), share * y + (1 - share) * y.flip(0)
            yield x, y

    def _generator(self, purpose: str, epoch: int) -> Generator:
        key = hashlib.sha256(f"{self.seed}/{epoch}/{purpose}".encode()).digest()
        return Generator().manual_seed(int.from_bytes(key[:4], "little"))


def train_batches(
    splits: Splits, *, batch_size: int, seed: int, augmentation: Sequence[str] | None = None, mixup: float = 0.0
) -> Batches:
    """Return the training images of a data set in batches: shuffled in each epoch, and augmented.

    A last batch of a single image is left out, because batch norm cannot train on it.

    Args:
        splits: The data set.
        batch_size: B.
        seed: Seed of order and augmentation.
        augmentation: Names; None uses the data set's usual ones.
        mixup: As in `Batches`.
    """
    return Batches(
        splits.train,
        batch_size=batch_size,
        mean=splits.mean,
        std=splits.std,
        augmentation=splits.augmentation if augmentation is None else augmentation,
        seed=seed,
        shuffle=True,
        drop_last=len(splits.train) % batch_size == 1,
        mixup=mixup,
        classes=len(splits.classes),
    )


def score_batches(splits: Splits, part: Literal["validation", "test"], *, batch_size: int) -> Batches:
    """Return the validation or test images in batches for scoring: all of them, in order, without augmentation."""
    images = splits.validation if part == "validation" else splits.test
    return Batches(images, batch_size=batch_size, mean=splits.mean, std=splits.std)


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return (images / 255 - mean) / std in float32.

    Args:
        images: uint8 (B, C, H, W).
        mean: C values in 0..1.
        std: C values, likewise.

    Returns:
        (B, C, H, W).
    """
    centre, scale = 255 * torch.tensor(mean).view(-1, 1, 1), 255 * torch.tensor(std).view(-1, 1, 1)
    return images.float().sub_(centre).div_(scale)
