"""Batches of normalised images. Order and augmentation depend only on seed and epoch."""

import copy
import hashlib
import math
import random
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal, Self

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from saam._core.devices import Device
from saam.data.augmentation import augment, require_augmentation
from saam.data.images import Images, ImageSource
from saam.data.splits import Splits

__all__ = ["Batches", "normalise", "score_batches", "train_batches"]


class Batches:
    """Images in batches, for a training loop.

    Use ``for x, y in batches.epoch(3)`` for one epoch; iterating over the object itself is epoch 0. The order and each
    augmentation have separate generators, all derived from seed and epoch. So an additional augmentation changes
    neither the order nor the draws of the others, and the global generator is not used. All draws are made on the CPU,
    so they are the same for every device.

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
        device: Device on which batches are cut, augmented and normalised. Images in memory are copied there once, when
            the first epoch begins; encoded images are copied batch by batch.

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
        device: Device = "cpu",
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
        self.device = _whole(device)

    def __len__(self) -> int:
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch(0)

    def to_device(self, device: Device) -> Self:
        """Return the same batches on another device, or this object if they are already there."""
        if _whole(device) == self.device:
            return self
        moved = copy.copy(self)
        moved.__dict__.pop("_resident", None)
        moved.device = _whole(device)
        return moved

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield float32 images (B, 3, H, W) and int64 labels (B,), or probabilities (B, classes) with mixup."""
        order = torch.arange(len(self.images))
        if self.shuffle:
            order = torch.randperm(len(order), generator=self._generator("order", epoch))
        chunks = torch.split(order, self.batch_size)[: len(self)]
        generators = [self._generator(name, epoch) for name in self.augmentation]
        shares = random.Random(f"{self.seed}/{epoch}/mixup")
        for x, y in self._read(chunks):
            for name, generator in zip(self.augmentation, generators, strict=True):
                x = augment(x, name, generator)
            x = normalise(x, self.mean, self.std)
            if self.mixup:
                share = shares.betavariate(self.mixup, self.mixup)
                y = one_hot(y, self.classes).float()
                x, y = share * x + (1 - share) * x.flip(0), share * y + (1 - share) * y.flip(0)
            yield x, y

    def _read(self, chunks: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the uint8 images (B, 3, H, W) and the labels (B,) at each chunk of indices, on the device."""
        if self.device.type == "cpu" or not isinstance(self.images, Images):
            for chunk, x in zip(chunks, self.images.read(chunks), strict=True):
                yield x.to(self.device), self.images.labels[chunk].to(self.device)
            return
        images, labels = self._resident
        for rows in torch.split(torch.cat(tuple(chunks)).to(self.device), self.batch_size):
            yield images[rows], labels[rows]

    @cached_property
    def _resident(self) -> tuple[Tensor, Tensor]:
        """Images in memory and their labels, on the device."""
        assert isinstance(self.images, Images)
        return self.images.images.to(self.device), self.images.labels.to(self.device)

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
        (B, C, H, W), on the device of the images.
    """
    centre, scale = (255 * torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    return images.float().sub_(centre.to(images.device)).div_(scale.to(images.device))


def _whole(device: Device) -> torch.device:
    """Return the device with its number, as in ``Tensor.device``: "cuda" and "cuda:0" are the same."""
    return torch.empty(0, device="cpu" if device is None else device).device
