"""Test images to show: the first of each class. Nothing is selected by its appearance."""

from typing import NamedTuple

import torch
from torch import Tensor

from saam.data.images import Images
from saam.data.splits import Splits

__all__ = ["Selection", "first_of_each_class", "first_test_images"]


class Selection(NamedTuple):
    """Some test images of a data set."""

    pixels: Tensor
    """uint8 (n, 3, H, W)."""
    indices: list[int]
    """Their places among the test images."""
    labels: Tensor
    """int64 (n,)."""
    truths: list[str]
    """Names of their classes."""
    masks: Tensor | None
    """bool (n, H, W), true on the object; None where the data have none."""


def first_test_images(splits: Splits, count: int, *, with_object: bool = False) -> Selection:
    """Return the first test image of each class, then the second of each, and so on.

    Args:
        splits: The data set.
        count: Number of images, or more if there are fewer.
        with_object: Leave out images whose mask is empty.

    Raises:
        ValueError: If ``count`` is below 1.
    """
    test = splits.test
    kept = torch.arange(len(test))
    if with_object and isinstance(test, Images) and test.masks is not None:
        kept = kept[test.masks.flatten(1).any(1)]
    kept = kept[first_of_each_class(test.labels[kept], count)]
    chosen = test.select(kept)
    (pixels,) = chosen.read([torch.arange(len(chosen))])
    masks = chosen.masks if isinstance(chosen, Images) else None
    truths = [splits.classes[label] for label in chosen.labels.tolist()]
    return Selection(pixels, kept.tolist(), chosen.labels, truths, masks)


def first_of_each_class(labels: Tensor, count: int) -> Tensor:
    """Return the indices of example images: the first of each class, then the second of each, and so on.

    Args:
        labels: int64 (N,).
        count: The number of images, or more if there are fewer.

    Returns:
        int64 (count,), or fewer.

    Raises:
        ValueError: If ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"expected one image or more, got images={count}")
    seen: dict[int, int] = {}
    order = []
    for index, label in enumerate(labels.tolist()):
        order.append((seen.get(label, 0), label, index))
        seen[label] = seen.get(label, 0) + 1
    return torch.tensor([index for _, _, index in sorted(order)[:count]], dtype=torch.int64)
