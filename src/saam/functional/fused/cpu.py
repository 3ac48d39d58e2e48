"""The CPU implementation of the operations: load the distribution `saam-native`, if it is installed."""

import torch

__all__ = ["missing"]

_INTERFACE = 1
"""Version of the schemas; saam-native declares the version that it implements."""


def _load() -> str | None:
    """Load the compiled operations; return why they are missing, or None."""
    build = "from the repository: pip install --no-build-isolation ./native"
    try:
        import saam_native
    except ImportError:
        return f"saam-native is not installed; build it {build}"
    if getattr(saam_native, "interface", None) != _INTERFACE:
        return f"saam-native has another version than saam; rebuild it {build}"
    try:
        torch.ops.load_library(saam_native.library)  # type: ignore[no-untyped-call]
    except OSError as error:
        return f"saam-native does not load ({error}); rebuild it {build}"
    return None


missing: str | None = _load()
"""Why there is no CPU implementation, or None."""
