"""Comparisons that a sceptic would accept: arms x seeds with common random numbers, their costs, and what they show.

The verdicts are in `saam.comparison.statistics`, which alone needs scipy.
"""

from saam.comparison.costs import measure_costs
from saam.comparison.driver import compare
from saam.comparison.job import Job, run
from saam.comparison.plan import PLAIN, Arm, Plan
from saam.comparison.records import CostRecord, FailureRecord, RunRecord
from saam.comparison.store import Comparison, load_comparison, load_model

__all__ = [
    "PLAIN",
    "Arm",
    "Comparison",
    "CostRecord",
    "FailureRecord",
    "Job",
    "Plan",
    "RunRecord",
    "compare",
    "load_comparison",
    "load_model",
    "measure_costs",
    "run",
]
