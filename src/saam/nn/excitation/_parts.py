"""Helpers shared by the excitations: input checks, batch norm, and zeroing a layer."""

from torch import Tensor, nn

__all__ = ["batch_norm", "require_side_by_side", "require_statistics", "zero_"]


def require_statistics(values: Tensor, channels: int, statistics: int | None = None) -> Tensor:
    """Return the statistics with their axis K: (B, C) or (B, K, C) -> (B, K, C).

    Args:
        values: Output of the squeeze.
        channels: The required C.
        statistics: The required K; None accepts any.

    Raises:
        ValueError: If the shape, C or K does not match.
    """
    if values.ndim not in (2, 3):
        raise ValueError(f"an excitation takes statistics (B, C) or (B, K, C), got {tuple(values.shape)}")
    if values.shape[-1] != channels:
        raise ValueError(
            f"this module was built for {channels} channels, got statistics of shape {tuple(values.shape)}; "
            f"build it with channels={values.shape[-1]}"
        )
    values = values[:, None] if values.ndim == 2 else values
    if statistics is not None and values.shape[1] != statistics:
        raise ValueError(
            f"this excitation was built for {statistics} statistics of each channel, the squeeze gives "
            f"{values.shape[1]}; build it with statistics={values.shape[1]}"
        )
    return values


def require_side_by_side(values: Tensor, channels: int, statistics: int) -> Tensor:
    """Return the statistics of an image in one row: (B, C) or (B, K, C) -> (B, K*C).

    Raises:
        ValueError: If the shape, C or K does not match.
    """
    if statistics == 1 and values.shape[1:] == (channels,):
        return values  # unchanged: every view is a node of autograd, which matters for such small tensors
    return require_statistics(values, channels, statistics).flatten(1)


def batch_norm(norm: nn.BatchNorm1d, values: Tensor) -> Tensor:
    """Apply a batch norm to (B, F) or (B, F, L).

    Raises:
        ValueError: If there is only one value per feature in training.
    """
    if norm.training and values.numel() == norm.num_features:
        raise ValueError(
            "expected more than 1 value per channel in training, where this module norms over the batch, got a batch "
            "of one image; give it two or more, or call .eval()"
        )
    return norm(values)


def zero_(layer: nn.Linear | nn.Conv1d | nn.BatchNorm1d) -> None:
    """Set the weight and bias of a layer to zero."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
