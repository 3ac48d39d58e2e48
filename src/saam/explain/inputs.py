"""Batches of images for a measurement, in whatever form they come."""

from collections.abc import Iterable, Iterator

from torch import Tensor, nn

from saam._core.devices import device_of

__all__ = ["Batch", "images_of"]

Batch = Tensor | tuple[Tensor, ...]


def images_of(model: nn.Module, batches: Tensor | Iterable[Batch]) -> Iterator[Tensor]:
    """Yield batches of images (B, C, H, W), none of them empty, on the model's device.

    Args:
        model: The network that will run on them.
        batches: Images (B, C, H, W), or batches of them. If a batch is a tuple, such as (images, labels), its first
            entry is used.

    Raises:
        ValueError: If a batch has another form, or there are no images at all.
    """
    device, empty = device_of(model), True
    for batch in [batches] if isinstance(batches, Tensor) else batches:
        x = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if not isinstance(x, Tensor) or x.ndim != 4:
            got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                f"expected batches of images (B, C, H, W), or of tuples that begin with them, got {got}: pass a "
                "loader, a tensor, or a list such as [(images, labels)]"
            )
        if len(x):
            empty = False
            yield x.to(device)
    if empty:
        raise ValueError("expected images to run the model on, got none: pass a tensor (B, C, H, W) or batches of them")
