"""The width of a bottleneck, by timm's three options."""

from saam.nn._check import require_channels

__all__ = ["reduced"]


def reduced(channels: int, rd_ratio: float, rd_channels: int | None, rd_divisor: int) -> int:
    """Return the width of a bottleneck: ``rd_channels``, or C * rd_ratio rounded to a multiple of ``rd_divisor``.

    The width is at least ``rd_divisor``, so that few channels still have a bottleneck.

    Raises:
        ValueError: If a ratio, width or divisor is not above 0.
    """
    require_channels(channels)
    if rd_channels is not None:
        if rd_channels < 1:
            raise ValueError(f"rd_channels must be 1 or more, got {rd_channels}")
        return rd_channels
    if not rd_ratio > 0 or rd_divisor < 1:
        raise ValueError(f"rd_ratio must be above 0 and rd_divisor 1 or more, got {rd_ratio} and {rd_divisor}")
    return max(rd_divisor, int(channels * rd_ratio + rd_divisor / 2) // rd_divisor * rd_divisor)
