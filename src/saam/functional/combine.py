"""Combine a per-channel value with the feature map: scale each channel by it, or add it."""

from typing import Any

import torch
from torch import Tensor

from saam.functional._check import accumulator, require_map
from saam.functional._torch import plain_only

__all__ = ["as_map", "require_values", "rescale", "shift", "value_gradient"]


def rescale(x: Tensor, factor: Tensor) -> Tensor:
    """Multiply every channel of ``x`` (B, C, H, W) by its ``factor`` (B, C).

    Returns:
        (B, C, H, W), in the dtype and memory layout of ``x``.

    Raises:
        ValueError: If shapes do not match.
        TypeError: If ``x`` is not floating.

    Example:
        >>> import torch
        >>> rescale(torch.ones(1, 2, 1, 2), torch.tensor([[2.0, 3.0]]))
        tensor([[[[2., 2.]],
        <BLANKLINE>
                 [[3., 3.]]]])
    """
    return _meet(x, factor, adds=False)


def shift(x: Tensor, addend: Tensor) -> Tensor:
    """Add its ``addend`` (B, C) to every channel of ``x`` (B, C, H, W), as GCNet does.

    Returns:
        (B, C, H, W), in the dtype and memory layout of ``x``.

    Raises:
        ValueError: If shapes do not match.
        TypeError: If ``x`` is not floating.
    """
    return _meet(x, addend, adds=True)


def _meet(x: Tensor, value: Tensor, *, adds: bool) -> Tensor:
    require_map(x)
    require_values(x, value)
    if x.dtype != accumulator(x.dtype) and torch.is_grad_enabled() and plain_only() is None:
        y: Tensor = _Meet.apply(x, value, adds)
        return y
    return _Meet.forward(x, value, adds)


def require_values(x: Tensor, value: Tensor) -> None:
    """Raise an error unless ``value`` is (B, C) for ``x`` (B, C, H, W)."""
    if value.shape != x.shape[:2]:
        raise ValueError(
            f"expected one value per image and channel, (B, C) = {tuple(x.shape[:2])}, got {tuple(value.shape)}"
        )


def as_map(value: Tensor, x: Tensor) -> Tensor:
    """Reshape per-channel values (B, C) to (B, C, 1, 1) and convert them to the dtype of ``x``."""
    return value.to(x.dtype)[:, :, None, None]


def value_gradient(dy: Tensor, x: Tensor, *, adds: bool) -> Tensor:
    """Return the gradient of the per-channel values (B, C), summed over the pixels in float32 or wider."""
    wide = dy.to(accumulator(dy.dtype))
    return (wide if adds else wide * x).sum((2, 3))


class _Meet(torch.autograd.Function):
    """The same operation for half types, where the sums over pixels in the value's gradient would overflow."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, value: Tensor, adds: bool) -> Tensor:
        return x + as_map(value, x) if adds else x * as_map(value, x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
        x, value, ctx.adds = inputs
        ctx.save_for_backward(x, value)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, None]:
        x, value = ctx.saved_tensors
        dx = dy if ctx.adds else dy * as_map(value, x)
        return dx, value_gradient(dy, x, adds=ctx.adds).to(value.dtype), None
