"""Devices and threads: find the default device, check what a caller requests, set the number of threads."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

__all__ = ["Device", "best_device", "device_of", "doubled", "require_device", "require_threads", "threads_set"]

Device = torch.device | str | None

_MOST_THREADS = 1024  # far more threads crash the process


def best_device(device: Device = None) -> torch.device:
    """Return the named device. Without a name, return the accelerator that torch finds, or the CPU.

    Raises:
        ValueError: If torch knows no such device.
    """
    if device is not None:
        try:
            return torch.device(device)
        except RuntimeError as error:
            raise _unusable(device, error) from error
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def require_device(device: Device = None) -> torch.device:
    """Return the named device, or the best one, after checking that it can compute.

    Raises:
        ValueError: If the device does not exist, or cannot compute.
    """
    try:
        torch.zeros(1, device=best_device(device)).cpu()  # "meta" creates tensors without values, so test the copy too
    except (RuntimeError, AssertionError) as error:
        raise _unusable(device, error) from error
    return best_device(device)


def _unusable(device: Device, error: Exception) -> ValueError:
    reason = str(error).splitlines()[0]
    return ValueError(f"device {str(device)!r} cannot be used here ({reason}): pass 'cpu' or None")


def device_of(model: nn.Module) -> torch.device:
    """Return the device of the first parameter or buffer of a network, or the CPU if it has none."""
    tensor = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def doubled(x: Tensor) -> Tensor:
    """Return a tensor in float64; on the CPU if its device, MPS, has no float64."""
    return (x.cpu() if x.device.type == "mps" else x).double()


def require_threads(threads: int) -> None:
    """Raise an error unless ``threads`` is a valid number of threads.

    Raises:
        ValueError: If the number is out of range.
    """
    if not 1 <= threads <= _MOST_THREADS:
        raise ValueError(f"threads={threads}: expected 1 to {_MOST_THREADS}, and no more than there are processors")


@contextmanager
def threads_set(threads: int | None) -> Iterator[None]:
    """Set the number of torch threads, and restore it at the end."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
