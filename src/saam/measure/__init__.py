"""What a network costs: multiply-accumulates, memory, time."""

from saam.measure.macs import count_macs
from saam.measure.memory import peak_memory
from saam.measure.parameters import count_parameters
from saam.measure.timing import median_ratio, spread, take_turns

__all__ = ["count_macs", "count_parameters", "median_ratio", "peak_memory", "spread", "take_turns"]
