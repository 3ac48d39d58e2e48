"""Score a model on labelled images."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saam._core.devices import device_of
from saam._core.modes import mode
from saam._core.random import generators_kept
from saam.training.records import ImageScores, Scores

__all__ = ["Loader", "batches_of", "evaluate", "placed", "score_images"]


class Loader(Protocol):
    """Batches ``(x, y)``: x (B, C, H, W) images, y (B,) int64 labels, such as `torch.utils.data.DataLoader`.

    If a loader has a method ``epoch(index)`` that iterates over the batches, it is called with the number of each
    epoch, so that order and augmentation can depend on it. If it has a method ``to_device(device)``, which returns a
    loader that makes its batches on the device, that loader is used.
    """

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over the batches."""
        ...

    def __len__(self) -> int:
        """Return the number of batches."""
        ...


def evaluate(model: nn.Module, batches: Loader) -> Scores:
    """Score a model in evaluation mode, in its own precision and on its own device.

    Args:
        model: Maps x (B, C, H, W) to logits (B, classes).
        batches: Labelled images.

    Returns:
        Accuracy, mean negative log-likelihood, top-5 accuracy and calibration error over all images.

    Raises:
        ValueError: If there are no images.
    """
    return score_images(model, batches).mean()


def score_images(model: nn.Module, batches: Loader) -> ImageScores:
    """Score a model on each image, as `evaluate` does on all of them.

    Raises:
        ValueError: If there are no images.
    """
    device = device_of(model)
    parts: list[tuple[Tensor, ...]] = []
    with torch.inference_mode(), mode(model, training=False), generators_kept(device):
        for x, y in batches_of(placed(batches, device), epoch=0):
            x, y = (each.to(device, non_blocking=device.type == "cuda") for each in (x, y))
            parts.append(_scores(model(x).float(), y))
        if not sum(len(part[0]) for part in parts):
            raise ValueError("expected images to score, got none: pass batches of at least one image")
        return ImageScores(*(torch.cat(values).cpu() for values in zip(*parts, strict=True)))


def _scores(logits: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Return the fields of `ImageScores` for logits (B, classes) and labels (B,)."""
    losses = F.cross_entropy(logits, y, reduction="none")
    predicted = logits.argmax(1)
    confidence = (logits.gather(1, predicted[:, None]) - logits.logsumexp(1, keepdim=True)).exp()[:, 0]
    rank = (logits > logits.gather(1, y[:, None])).sum(1)
    return losses, y, predicted, confidence.clamp(max=1), rank


def batches_of(batches: Loader, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over the batches of an epoch, numbered from 0."""
    by_epoch = getattr(batches, "epoch", None)
    return iter(batches if by_epoch is None else by_epoch(epoch))


def placed(batches: Loader, device: torch.device) -> Loader:
    """Return a loader that makes these batches on a device, or the loader itself if it does not support devices."""
    to_device: Callable[[torch.device], Loader] | None = getattr(batches, "to_device", None)
    return batches if to_device is None else to_device(device)
