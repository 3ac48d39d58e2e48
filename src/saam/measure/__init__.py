"""What a network costs."""

from saam.measure.macs import count_macs

__all__ = ["count_macs"]
