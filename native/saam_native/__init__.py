"""The compiled CPU operations of saam."""

from pathlib import Path

__all__ = ["interface", "library"]

interface = 1
"""Which schemas of saam.functional.fused.operations the library implements."""

library = Path(__file__).with_name("libsaam.so")
"""What ``torch.ops.load_library`` takes."""
