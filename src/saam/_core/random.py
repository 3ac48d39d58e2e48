"""Use torch's global generators and restore their state."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

__all__ = ["all_seeded", "generators_kept", "seeded"]

_WITHOUT = ("cpu", "meta")  # these have no generator other than the CPU's


@contextmanager
def generators_kept(device: torch.device | None = None) -> Iterator[None]:
    """Restore the global generators of the CPU and of a device at the end of the block."""
    with torch.random.fork_rng(devices=[]), nullcontext() if device is None else _device_kept(device):
        yield


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Seed the generators within the block and restore them at the end; with None, use them as they are.

    This affects the CPU and torch's default device. `torch.manual_seed` would seed every GPU, and nothing would restore
    them.
    """
    if seed is None:
        yield
        return
    device = torch.get_default_device()
    with generators_kept(device):
        torch.default_generator.manual_seed(seed)
        if device.type not in _WITHOUT:
            getattr(torch, device.type).manual_seed(seed)
        yield


@contextmanager
def all_seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global generators of torch, Python and NumPy for code that uses them, and restore them at the end."""
    numpy = sys.modules.get("numpy")  # if NumPy is not loaded, nothing draws from it
    before, numbers = random.getstate(), numpy and numpy.random.get_state()
    with generators_kept(device):
        torch.manual_seed(seed)
        random.seed(seed)
        if numpy:
            numpy.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(before)
            if numpy:
                numpy.random.set_state(numbers)


@contextmanager
def _device_kept(device: torch.device) -> Iterator[None]:
    if device.type in _WITHOUT:
        yield
        return
    index = torch.accelerator.current_device_index() if device.index is None else device.index
    with torch.random.fork_rng(devices=[index], device_type=device.type):
        yield
