"""Multiply-accumulates of a network, counted from the operations that it runs.

:mod:`saam.functional.arithmetic` defines the count of each operation.
"""

import torch
from torch import nn

from saam.functional import use_backend
from saam.functional.arithmetic import MacCounter
from saam.surgery.probe import at_rest

__all__ = ["count_macs"]


def count_macs(model: nn.Module, image_size: tuple[int, int], *, channels: int = 3) -> int:
    """Count the multiply-accumulates of one forward pass of one image, in evaluation mode.

    The model runs on an empty image on its own device, and the operations are counted.

    Args:
        model: Accepts (1, channels, H, W).
        image_size: (H, W).
        channels: Number of channels of the image.

    Raises:
        ValueError: If the model runs an operation that is not one of PyTorch's own, because its arithmetic is unknown.

    Example:
        >>> count_macs(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), (4, 4))  # 8*27*16 + 8*16
        3584
    """
    like = next(model.parameters(), torch.empty(0))
    image = torch.zeros(1, channels, *image_size, device=like.device, dtype=like.dtype)
    counter = MacCounter()
    with at_rest(model), use_backend("eager"), counter:
        model(image)
    return counter.total
