"""A comparison as far as it has got, its plan and its results, and what a folder holds of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from saam._core.errors import one_line
from saam._core.html import html_table
from saam.comparison.plan import Plan
from saam.comparison.plan_file import check_metrics, read_plan
from saam.comparison.records import CostRecord, FailureRecord, ProgressRecord, RunRecord
from saam.comparison.scores_table import scores_table
from saam.comparison.store import count_others, read_costs, read_failures, read_records
from saam.comparison.task import TaskPlan

if TYPE_CHECKING:
    import pandas

__all__ = ["Comparison", "load_comparison"]


@dataclass(frozen=True)
class Comparison:
    """A comparison as far as it has got.

    Attributes:
        plan: What is compared.
        records: The finished runs, in the order of ``plan.schedule()``.
        costs: One record for the plain backbone and for every arm that was measured.
        classes: Of the data; None where that is not known.
        class_names: Their names; empty where they are not known.
        failures: One record for each run that failed, in the order of ``plan.schedule()``.
        progress: How far the runs under way are.
        others: Number of finished runs in the folder that the plan does not have: of arms or seeds of an earlier plan.
    """

    plan: Plan | TaskPlan
    records: tuple[RunRecord, ...]
    costs: tuple[CostRecord, ...]
    classes: int | None = None
    failures: tuple[FailureRecord, ...] = ()
    progress: tuple[ProgressRecord, ...] = ()
    class_names: tuple[str, ...] = ()
    others: int = 0

    def __repr__(self) -> str:
        plan, done = self.plan, f"{len(self.records)} of {len(self.plan.schedule())} runs"
        if self.failures:
            first = self.failures[0]
            error = one_line(first.error, most=200)
            done += f"; {len(self.failures)} failed, the first is {first.arm}, seed {first.seed}: {error}"
        title = plan.title if isinstance(plan, TaskPlan) else f"{plan.model} on {plan.data}"
        return f"Comparison({title}: {', '.join(plan.arms)}; {done})"

    def _repr_html_(self) -> str:
        """Return the scores of the arms for a notebook, with their verdicts against the reference."""
        return html_table(scores_table(self.records, self.plan), caption=repr(self))

    def to_frame(self) -> "pandas.DataFrame":
        """Return the finished runs as a table of pandas, one row a run: arm, seed, test and validation scores, costs.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("a frame needs a package: pip install pandas") from error
        rows = [
            {
                "arm": record.arm,
                "seed": record.seed,
                **{f"test_{name}": score for name, score in record.test.items()},
                **{f"validation_{name}": score for name, score in record.validation.items()},
                "parameters": record.parameters,
                "seconds": record.seconds,
                "finished": record.finished,
                "id": record.id,
            }
            for record in self.records
        ]
        return pandas.DataFrame(rows)


def load_comparison(out: str | Path) -> Comparison:
    """Return the comparison that a folder holds, as far as it has got; nothing is run.

    Raises:
        FileNotFoundError: The folder holds none.
        ValueError: A file is damaged; the error names it.
    """
    out = Path(out)
    plan, content = read_plan(out)
    runs = dict(zip(plan.schedule(), content["runs"], strict=True))
    records, costs = read_records(out, runs), read_costs(out, content["costs"])
    failures = read_failures(out, runs, records)
    check_metrics(out, plan, records.values())
    return Comparison(
        plan,
        tuple(records.values()),
        costs,
        content["classes"],
        tuple(failures.values()),
        class_names=tuple(content.get("preprocessing", {}).get("classes", ())),
        others=count_others(out, content["runs"]),
    )
