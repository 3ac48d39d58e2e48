"""Processes that train one network together, started by ``torchrun``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from saam._core.devices import Device, best_device, require_device

__all__ = ["Group", "together"]


@dataclass(frozen=True)
class Group:
    """The processes that train together, seen from one of them.

    Args:
        rank: Index of this process, from 0.
        size: Number of processes; 1 without ``torchrun``.
        device: Device of this process.
    """

    rank: int
    size: int
    device: torch.device

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes, on the CPU."""
        if self.size > 1:
            values = values.to(self.device if distributed.get_backend() == "nccl" else "cpu")
            distributed.all_reduce(values)
        return values.cpu()


@contextmanager
def together(device: Device = None) -> Iterator[Group]:
    """Join the processes that ``torchrun`` started; without it, this process is alone.

    An existing process group is used and not closed.

    Args:
        device: Name for torch. None means the accelerator with the number ``LOCAL_RANK``, or the CPU.

    Raises:
        ValueError: If the device cannot be used.
    """
    made = not distributed.is_initialized()
    if made and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Group(0, 1, require_device(device))
        return
    name = str(best_device() if device is None else device)
    if name != "cpu" and ":" not in name:
        name = f"{name}:{os.environ.get('LOCAL_RANK', '0')}"
    place = require_device(name)
    if made:
        distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Group(distributed.get_rank(), distributed.get_world_size(), place)
    finally:
        if made:
            distributed.destroy_process_group()
