"""The scores of a comparison in a small table, for notebooks."""

from collections.abc import Sequence

from saam.comparison.plan import Plan
from saam.comparison.records import RunRecord
from saam.comparison.statistics import summarise
from saam.comparison.task import TaskPlan

__all__ = ["scores_table"]


def scores_table(records: Sequence[RunRecord], plan: Plan | TaskPlan) -> list[list[str]]:
    """Return a header, and for each arm its number of seeds, mean and standard deviation of every metric, and verdict.

    The verdict is on the primary metric, against the plan's reference.
    """
    rows = [["arm", "seeds", *(metric.label for metric in plan.metrics), "verdict"]]
    known = {record.arm for record in records}
    base = plan.reference if plan.reference in known else next(iter(known), "")
    summaries = [summarise(records, reference=base, metric=metric) for metric in (plan.metrics if records else ())]
    for arm in plan.arms:
        scores = [each for summary in summaries for each in summary.arms if each.arm == arm]
        told: list[str] = [each.verdict for summary in summaries[:1] for each in summary.differences if each.arm == arm]
        verdict = "reference" if arm == plan.reference else "".join(told[:1] if base == plan.reference else [])
        cells = [""] * len(plan.metrics)
        for place, (metric, score) in enumerate(zip(plan.metrics, scores, strict=False)):
            spread = f" \N{PLUS-MINUS SIGN} {score.std:.{metric.digits}f}" if score.n > 1 else ""
            cells[place] = f"{score.mean:.{metric.digits}f}{spread}"
        rows.append([arm, str(scores[0].n if scores else 0), *cells, verdict])
    return rows
