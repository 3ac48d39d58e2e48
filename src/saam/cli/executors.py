"""The options of the commands that run comparisons: how and where the runs are executed."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from saam.cli.numbers import Count, seconds, slots
from saam.executors import RayExecutor

__all__ = ["HERE", "Running"]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Running:
    """How and where the runs of a comparison are executed."""

    workers: Count | None = None
    """Number of parallel runs. Default: one per processor, or per device."""
    threads: Count = 1
    """Number of threads of each run."""
    device: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ()
    """One or several torch devices to distribute the runs over. Default: the best one."""
    jobs_per_device: Count = 1
    """Number of parallel runs on each device."""
    executor: Literal["processes", "ray"] = "processes"
    """Where the runs are executed: "processes" on this machine, or "ray" for the machines of a Ray cluster, which must
    have the same code."""
    address: str = ""
    """Address of the Ray cluster. Default: the current one, or a new one on this machine."""
    costs: Annotated[bool, Parameter(negative="--no-costs")] = True
    """Measure the costs of the arms after the runs."""
    retry: bool = False
    """Repeat runs that failed before."""
    budget: str = ""
    """Time after which no seed is added, as in "90m" or "2h", to a comparison that adds seeds until told."""
    track: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ()
    """One or several of tensorboard, wandb and mlflow, to log every run there."""

    @property
    def devices(self) -> list[str] | None:
        """The devices of the runs on this machine, each as often as it takes runs; None for the best one."""
        return slots(self.device, self.jobs_per_device)

    @property
    def seconds(self) -> float:
        """The budget.

        Raises:
            ValueError: If it is not a time.
        """
        return seconds(self.budget) if self.budget else inf

    @contextmanager
    def started(self) -> Iterator[dict[str, Any]]:
        """Yield the settings for `saam.comparison.driver.drive` while the executor runs.

        Raises:
            ValueError: If there is an address without Ray, or a device that Ray does not support.
            ModuleNotFoundError: If Ray is not installed.
        """
        settings: dict[str, Any] = {"workers": self.workers, "threads": self.threads}
        settings |= {"costs": self.costs, "retry": self.retry, "track": self.track}
        if self.executor == "processes":
            if self.address:
                raise ValueError(f"--address {self.address} is for a Ray cluster: add --executor ray")
            yield settings | {"device": self.devices, "executor": None}
            return
        with self._ray() as executor:
            yield settings | {"device": list(self.device) or None, "executor": executor}

    def _ray(self) -> Executor:
        if len(self.device) > 1 or any(":" in name for name in self.device):
            named = " ".join(self.device)
            raise ValueError(f"expected one device without a number, since Ray assigns the GPUs, got {named}")
        shared = 1 / self.jobs_per_device if self.jobs_per_device > 1 else None
        gpus = 0.0 if "cpu" in self.device else shared
        return RayExecutor(self.address or None, threads=self.threads, gpus=gpus)


HERE = Running()
"""The default: one run per processor of this machine."""
