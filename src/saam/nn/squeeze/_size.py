"""The size of a feature map as an option."""

__all__ = ["MapSize", "height_and_width"]

MapSize = int | tuple[int, int]
"""(H, W), or one number for both."""


def height_and_width(size: MapSize) -> tuple[int, int]:
    """Return (H, W).

    Raises:
        ValueError: If it is not one or two whole numbers above 0.
    """
    match (size, size) if isinstance(size, int) else size:
        case (int(height), int(width)) if height > 0 and width > 0:
            return height, width
    raise ValueError(f"size must be a whole number above 0, or (height, width) of such, got {size!r}")
