"""Where and when a result was made: versions, machine, device, time."""

import platform
from datetime import UTC, datetime

import torch

from saam._core.machine import processor
from saam._version import __version__
from saam.functional.backend import backends

__all__ = ["environment", "now"]


def environment(device: torch.device) -> dict[str, str | int]:
    """Return what a result may depend on in addition to its plan: versions, machine, device and threads."""
    return {
        "saam": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": processor(),
        "threads": torch.get_num_threads(),
        "fused": backends()["fused"] if device.type == "cpu" else "not used by default",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }


def now() -> str:
    """Return the time in UTC, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
