"""Comparisons that a sceptic would accept: arms x seeds with common random numbers, their costs, and what they show.

The verdicts are in `saam.comparison.statistics`, which alone needs scipy.
"""

from saam.comparison.compare import compare
from saam.comparison.cost import measure_costs
from saam.comparison.plan import PLAIN, Arm, Plan
from saam.comparison.records import CostRecord, RunRecord
from saam.comparison.runner import run
from saam.comparison.store import Comparison, load_comparison, load_model

__all__ = [
    "PLAIN",
    "Arm",
    "Comparison",
    "CostRecord",
    "Plan",
    "RunRecord",
    "compare",
    "load_comparison",
    "load_model",
    "measure_costs",
    "run",
]
