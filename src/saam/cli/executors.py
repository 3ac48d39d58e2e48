"""``--executor``: where the runs of a comparison are executed."""

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
    """Yield the named executor; None for the processes that a comparison starts itself.

    Args:
        where: Name of the executor.
        address: Address of a Ray cluster; empty means the current one, or a new one.
        threads: Number of threads of each run.
        device: Names of torch devices. Ray assigns GPUs to runs, so they must have no number.
        jobs_per_device: Number of runs that share a GPU.

    Raises:
        ValueError: If there is an address without Ray, or a device that Ray does not support.
        ModuleNotFoundError: If Ray is not installed.
    """
    if where == "processes":
        if address:
            raise ValueError(f"--address {address} is for a Ray cluster: add --executor ray")
        yield None
        return
    if len(device) > 1 or any(":" in name for name in device):
        raise ValueError(f"expected one device without a number, since Ray assigns the GPUs, got {' '.join(device)}")
    gpus = 0.0 if "cpu" in device else 1 / jobs_per_device if jobs_per_device > 1 else None
    with RayExecutor(address or None, threads=threads, gpus=gpus) as executor:
        yield executor
