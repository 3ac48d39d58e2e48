"""Comparisons and studies as plain JSON values, for programs: the same figures as in the table and on the page."""

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from saam.comparison import Comparison
from saam.comparison.forecast import Forecast
from saam.comparison.statistics import ArmSummary, Difference
from saam.comparison.study import Study
from saam.report.overview import overview
from saam.report.study import study_view

__all__ = ["document", "forecast_document", "plain", "study_document"]


def document(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison, finished or not, as JSON values; numbers that are not finite become None.

    Returns:
        "plan"; "finished" and "planned", numbers of runs; "headline" and "verdicts", sentences; "arms", for each its
        label, its numbers of runs, its scores by metric (n, mean, sd and a 95 % interval) and its costs; "differences",
        for each metric those of all arms to the reference, with interval and p for a fixed number of seeds, and with
        e-value, confidence sequence and verdict for any number; "failures"; and "notes".
    """
    view = overview(comparison)
    arms = [
        {
            "arm": row.arm,
            "label": comparison.plan.arm(row.arm).label,
            "runs": row.runs,
            "planned": row.planned,
            "failed": row.failed,
            "scores": {name: _score(score) for name, score in row.scores.items()},
            "cost": row.cost.to_json() if row.cost else None,
        }
        for row in view.rows
    ]
    values = {
        "plan": comparison.plan.to_json(),
        "finished": view.finished,
        "planned": view.planned,
        "headline": view.headline,
        "verdicts": view.verdicts,
        "arms": arms,
        "differences": {
            name: [_difference(each) for each in family if each.n] for name, family in view.to_reference.items()
        },
        "failures": [
            {"arm": failure.arm, "seed": failure.seed, "error": failure.error} for failure in comparison.failures
        ],
        "notes": list(view.notes),
    }
    made: dict[str, Any] = plain(values)
    return made


def study_document(study: Study, results: Mapping[str, Comparison]) -> dict[str, Any]:
    """Return a study, finished or not, as JSON values.

    Returns:
        "study", its fields; "finding", a sentence; "arms", for each its average rank and its mean difference to the
        reference over the comparisons, best first; "p", of the Friedman test; and "comparisons" by name, as `document`
        gives them.
    """
    view = study_view(results)
    summary = view.summary
    made: dict[str, Any] = plain(
        {
            "study": asdict(study),
            "finding": view.finding,
            "arms": [asdict(each) for each in summary.arms] if summary else [],
            "p": summary.p if summary else None,
            "critical_difference": summary.critical_difference if summary else None,
            "comparisons": {name: document(comparison) for name, comparison in results.items()},
        }
    )
    return made


def forecast_document(told: Mapping[str, Forecast]) -> dict[str, Any]:
    """Return what each comparison of a study will take, by name, as JSON values."""
    made: dict[str, Any] = plain(told)
    return made


def plain(value: Any) -> Any:
    """Return values as JSON holds them: records as objects, numbers that are not finite as None."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _score(score: ArmSummary) -> dict[str, Any]:
    return {
        "n": score.n,
        "mean": score.mean,
        "sd": score.std,
        "interval": [score.low, score.high],
        "values": score.values,
    }


def _difference(each: Difference) -> dict[str, Any]:
    return {
        "arm": each.arm,
        "reference": each.reference,
        "n": each.n,
        "mean": each.mean,
        "interval": [each.low, each.high],
        "p": each.p,
        "p_holm": each.p_holm,
        "e": each.evidence.e,
        "p_holm_any_n": each.evidence.p_holm,
        "confidence_sequence": [each.evidence.low, each.evidence.high],
        "more_seeds": each.evidence.more_seeds,
        "verdict": each.verdict,
        "values": each.values,
    }
