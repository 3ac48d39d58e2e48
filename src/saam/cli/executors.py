"""``--executor``: where the runs of a comparison run."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Literal

from saam.executors import RayExecutor

__all__ = ["Where", "executor_of"]

Where = Literal["processes", "ray"]


@contextmanager
def executor_of(
    where: Where, *, address: str, threads: int, device: Sequence[str], jobs_per_device: int
) -> Iterator[Executor | None]:
    """Yield the executor of this name; None for the processes that a comparison starts by itself.

    Args:
        where: its name.
        address: of a Ray cluster; empty for the one at hand, or a new one.
        threads: of each run.
        device: as torch names it; Ray itself gives each run its GPU, so that it cannot be numbered.
        jobs_per_device: runs that share a GPU.

    Raises:
        ValueError: an address without Ray, or a device that Ray does not take.
        ModuleNotFoundError: Ray is not installed.
    """
    if where == "processes":
        if address:
            raise ValueError(f"--address {address} is that of a Ray cluster: add --executor ray")
        yield None
        return
    if len(device) > 1 or any(":" in name for name in device):
        raise ValueError(f"expected one device without a number, since Ray shares out the GPUs, got {' '.join(device)}")
    gpus = 0.0 if "cpu" in device else 1 / jobs_per_device if jobs_per_device > 1 else None
    with RayExecutor(address or None, threads=threads, gpus=gpus) as executor:
        yield executor
