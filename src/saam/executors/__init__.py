"""Where work runs: every executor is a `concurrent.futures.Executor`, and knows nothing of what it runs."""

from saam.executors.processes import Processes
from saam.executors.ray import RayExecutor

__all__ = ["Processes", "RayExecutor"]
