"""Executors that run the jobs. Each is a `concurrent.futures.Executor` and knows nothing of the work that it runs."""

from saam.executors.processes import Processes
from saam.executors.ray import RayExecutor

__all__ = ["Processes", "RayExecutor"]
