"""How a per-channel value meets the feature map: it scales its channel, or is added to it."""

from torch import Tensor

from saam.functional._check import require_map

__all__ = ["rescale", "shift"]


def rescale(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply every channel of ``x`` (B, C, H, W) by its ``factor`` (B, C).

    Returns:
        (B, C, H, W), in the dtype and memory layout of ``x``.

    Raises:
        ValueError: shapes that do not match.
        TypeError: ``x`` is not floating.

    Example:
        >>> import torch
        >>> rescale(torch.ones(1, 2, 1, 2), torch.tensor([[2.0, 3.0]]))
        tensor([[[[2., 2.]],
        <BLANKLINE>
                 [[3., 3.]]]])
    """
    return x * _as_map(factor, x)


def shift(x: Tensor, addend: Tensor) -> Tensor:
    """Add to every channel of ``x`` (B, C, H, W) its ``addend`` (B, C), as GCNet does.

    Returns:
        (B, C, H, W), in the dtype and memory layout of ``x``.

    Raises:
        ValueError: shapes that do not match.
        TypeError: ``x`` is not floating.
    """
    return x + _as_map(addend, x)


def _as_map(values: Tensor, x: Tensor) -> Tensor:
    """Give per-channel values (B, C) the shape (B, C, 1, 1) and the dtype of ``x``."""
    require_map(x)
    if values.shape != x.shape[:2]:
        raise ValueError(
            f"expected one value per image and channel, (B, C) = {tuple(x.shape[:2])}, got {tuple(values.shape)}"
        )
    return values.to(x.dtype)[:, :, None, None]
