"""Fair comparisons: arms x seeds with common random numbers, their costs and their statistics.

The verdicts are in `saam.comparison.statistics`. What needs scipy (statistics, cells, crossed) is not imported
with the package.
"""

from saam.comparison.arm import PLAIN, Arm
from saam.comparison.comparison import Comparison, load_comparison
from saam.comparison.costs import measure_costs
from saam.comparison.entry import compare
from saam.comparison.job import Job
from saam.comparison.metrics import ACCURACY, LOSS, Metric
from saam.comparison.plan import Plan
from saam.comparison.plan_run import run
from saam.comparison.records import CostRecord, FailureRecord, RunRecord
from saam.comparison.saved import SavedRun, open_run, open_seeds
from saam.comparison.store import read_values
from saam.comparison.task import Context, Outcome, TaskPlan
from saam.comparison.trained import load_model

__all__ = [
    "ACCURACY",
    "LOSS",
    "PLAIN",
    "Arm",
    "Comparison",
    "Context",
    "CostRecord",
    "FailureRecord",
    "Job",
    "Metric",
    "Outcome",
    "Plan",
    "RunRecord",
    "SavedRun",
    "TaskPlan",
    "compare",
    "load_comparison",
    "load_model",
    "measure_costs",
    "open_run",
    "open_seeds",
    "read_values",
    "run",
]
