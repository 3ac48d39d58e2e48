"""Batched augmentation with a separate draw for every image, from a given generator.

(The transforms of torchvision draw once for a whole batch.) All functions take uint8 or float images (B, C, H, W) and
return new ones of the same shape, type and device; "trivial-augment" and "rand-augment" only accept uint8 images. The
draws are made on the CPU, so they are the same for every device. Crop: He et al., arXiv 1512.03385. Cutout: DeVries &
Taylor, arXiv 1708.04552. RandAugment: Cubuk et al., arXiv 1909.13719. TrivialAugment: Müller & Hutter, arXiv
2103.10158.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from saam._core.errors import unknown
from saam._core.random import seeded

__all__ = ["augment", "cutout", "list_augmentations", "random_crop", "random_flip", "require_augmentation"]


def random_crop(x: Tensor, generator: Generator, *, padding: int | None = None) -> Tensor:
    """Pad each image with zeros on all sides and cut a window of the original size at a random position.

    Args:
        x: (B, C, H, W).
        generator: Generator; two draws per image, row and column of the window.
        padding: Pixels; None means an eighth of the shorter side (4 of 32, as for CIFAR), at least 1.

    Returns:
        (B, C, H, W).
    """
    batch, _, H, W = x.shape
    padding = max(1, min(H, W) // 8) if padding is None else padding
    corners = torch.randint(0, 2 * padding + 1, (batch, 2), generator=generator).to(x.device)
    windows = F.pad(x, [padding] * 4).unfold(2, H, 1).unfold(3, W, 1)  # (B, C, 2p+1, 2p+1, H, W), a view
    return windows[torch.arange(batch, device=x.device), :, corners[:, 0], corners[:, 1]]


def random_flip(x: Tensor, generator: Generator) -> Tensor:
    """Mirror each image left to right with probability one half.

    Args:
        x: (B, C, H, W).
        generator: Generator; one draw per image.

    Returns:
        (B, C, H, W).
    """
    flips = torch.randint(0, 2, (len(x), 1, 1, 1), generator=generator).bool()
    return torch.where(flips.to(x.device), x.flip(3), x)


def cutout(x: Tensor, generator: Generator, *, length: int | None = None) -> Tensor:
    """Replace a square of each image by the mean colour of the image.

    The square is centred on a random pixel and clipped at the border.

    Args:
        x: (B, C, H, W).
        generator: Generator; two draws per image, row and column of the centre.
        length: Side in pixels; None means half the shorter side (16 of 32, as for CIFAR-10).

    Returns:
        (B, C, H, W).
    """
    batch, _, H, W = x.shape
    length = max(1, min(H, W) // 2) if length is None else length
    tops = torch.randint(0, H, (batch, 1), generator=generator).to(x.device) - length // 2
    lefts = torch.randint(0, W, (batch, 1), generator=generator).to(x.device) - length // 2
    rows, columns = torch.arange(H, device=x.device), torch.arange(W, device=x.device)
    in_rows, in_columns = (rows >= tops) & (rows < tops + length), (columns >= lefts) & (columns < lefts + length)
    colour = x.mean(dim=(2, 3), keepdim=True, dtype=torch.float32).to(x.dtype)
    return torch.where((in_rows[:, :, None] & in_columns[:, None, :])[:, None], colour, x)


def _of_torchvision(name: str, x: Tensor, generator: Generator) -> Tensor:
    """Apply a transform of torchvision to each image separately, so that each has its own draws."""
    from torchvision.transforms import v2

    transform = getattr(v2, name)()
    with seeded(int(torch.randint(2**31, (), generator=generator))):  # it draws from the global generator
        return torch.stack([transform(image) for image in x])


_AUGMENTATIONS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "crop": random_crop,
    "flip": random_flip,
    "cutout": cutout,
    "trivial-augment": partial(_of_torchvision, "TrivialAugmentWide"),
    "rand-augment": partial(_of_torchvision, "RandAugment"),
}


def list_augmentations() -> list[str]:
    """Return the names of the augmentations."""
    return list(_AUGMENTATIONS)


def augment(x: Tensor, name: str, generator: Generator) -> Tensor:
    """Apply the named augmentation with its default strength to (B, C, H, W).

    Raises:
        ValueError: If there is no such augmentation; the message suggests similar names.
    """
    require_augmentation(name)
    return _AUGMENTATIONS[name](x, generator)


def require_augmentation(name: str) -> None:
    """Raise a ValueError, with similar names, unless :func:`augment` knows this name."""
    if name not in _AUGMENTATIONS:
        raise unknown("augmentation", name, _AUGMENTATIONS)
