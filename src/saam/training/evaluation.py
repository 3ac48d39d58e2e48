"""Score a model on labelled images."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saam.training.records import Scores

__all__ = ["Loader", "batches_of", "evaluate", "training_mode"]


class Loader(Protocol):
    """Batches ``(x, y)``: x (B, C, H, W) images, y (B,) int64 labels; `torch.utils.data.DataLoader` is one.

    A loader with a method ``epoch(index)`` that iterates over the batches is asked for each epoch by its number, so
    that order and augmentation can depend on it.
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
        model: Takes x (B, C, H, W), gives logits (B, classes).
        batches: Labelled images.

    Returns:
        Accuracy in percent, mean negative log-likelihood in nats, number of images.

    Raises:
        ValueError: There are no images.
    """
    tensor = next(chain(model.parameters(), model.buffers()), None)
    device = torch.device("cpu") if tensor is None else tensor.device
    losses, hits, count = [], [], 0
    with torch.inference_mode(), training_mode(model, training=False), torch.random.fork_rng(devices=[]):
        for x, y in batches_of(batches, epoch=0):
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            logits = model(x)
            losses.append(F.cross_entropy(logits.float(), y, reduction="sum"))
            hits.append((logits.argmax(1) == y).sum())
            count += len(y)
        if count == 0:
            raise ValueError("expected images to score, got none: pass batches of at least one image")
        return Scores(
            accuracy=100 * torch.stack(hits).sum().item() / count,
            loss=torch.stack(losses).cpu().double().sum().item() / count,
            count=count,
        )


def batches_of(batches: Loader, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Iterate over the batches of an epoch (from 0)."""
    by_epoch = getattr(batches, "epoch", None)
    return iter(batches if by_epoch is None else by_epoch(epoch))


@contextmanager
def training_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Switch a model to training or evaluation, and at the end every module of it back to what it was in."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode
