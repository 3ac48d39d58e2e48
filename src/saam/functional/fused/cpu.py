"""The CPU implementation of the operations: the distribution `saam-native`, loaded here where it is installed."""

import torch

__all__ = ["missing"]

_INTERFACE = 1
"""Counts the changes of the schemas; saam-native says for which of them it is."""


def _load() -> str | None:
    """Load the compiled operations; return why they are missing, or None."""
    build = "from the repository: pip install --no-build-isolation ./native"
    try:
        import saam_native
    except ImportError:
        return f"saam-native is not installed; {build}"
    if getattr(saam_native, "interface", None) != _INTERFACE:
        return f"saam-native is of another version than saam; build it anew, {build}"
    try:
        torch.ops.load_library(saam_native.library)  # type: ignore[no-untyped-call]
    except OSError as error:
        return f"saam-native does not load ({error}); build it anew, {build}"
    return None


missing: str | None = _load()
"""Why there is no CPU implementation, or None."""
