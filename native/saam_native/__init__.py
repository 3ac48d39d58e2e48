"""The compiled CPU operations of saam. `library` is the path that ``torch.ops.load_library`` takes."""

from pathlib import Path

__all__ = ["library"]

library = Path(__file__).with_name("libsaam.so")
