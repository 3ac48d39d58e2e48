"""The table of a comparison for a document: Markdown, LaTeX (booktabs), or CSV with plain numbers."""

import csv
import io
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

from saam.comparison import Comparison
from saam.comparison.metrics import Metric
from saam.comparison.records import CostRecord
from saam.report.further import further_scores
from saam.report.overview import Overview, Row, overview
from saam.report.setting import setting
from saam.report.words import count, failed_runs, forecast, interval, number, p_value, ratio, signed

__all__ = ["FORMATS", "Format", "formatted"]

Format = Literal["markdown", "latex", "csv"]

_MARKDOWN = str.maketrans({"\\": "\\\\", "|": "\\|", "<": "&lt;", "\n": " "})
_LATEX = str.maketrans(
    {
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "[": "{[}",
        "\n": " ",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": "$<$",
        ">": "$>$",
        "\N{MINUS SIGN}": "$-$",
        "\N{MULTIPLICATION SIGN}": r"$\times$",
        "\N{PLUS-MINUS SIGN}": r"$\pm$",
        "\N{NO-BREAK SPACE}": "~",
        "…": r"\ldots{}",
    }
)


def formatted(comparison: Comparison, kind: Format) -> str:
    """Return the table of a comparison, finished or not.

    Args:
        comparison: Plan, records and costs so far.
        kind: "markdown" and "latex" have the figures of the report as text; "latex" needs the package booktabs. "csv"
            has one column for each number: means, intervals, differences, p, e-values, and costs.

    Returns:
        The text, which ends with a line break.

    Raises:
        ValueError: If there is no such format.
    """
    if kind not in FORMATS:
        raise ValueError(f"expected one of the formats {', '.join(FORMATS)}, got {kind!r}")
    return FORMATS[kind](comparison)


def _markdown(comparison: Comparison) -> str:
    view = overview(comparison)
    header, *rows = ("| " + " | ".join(cell.translate(_MARKDOWN) for cell in row) + " |" for row in _rows(view))
    ruler = "|---" + "|---:" * (len(_header(view)) - 1) + "|"
    return "\n".join([header, ruler, *rows, "", _caption(comparison, view), ""])


def _latex(comparison: Comparison) -> str:
    view = overview(comparison)
    header, *rows = (" & ".join(cell.translate(_LATEX) for cell in row) + r" \\" for row in _rows(view))
    return "\n".join(
        [
            f"% {_caption(comparison, view)}",
            rf"\begin{{tabular}}{{l{'r' * (len(_header(view)) - 1)}}}",
            r"\toprule",
            header,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _csv(comparison: Comparison) -> str:
    view = overview(comparison)
    further: dict[str, dict[str, float]] = {}
    for score in further_scores(comparison):
        further.setdefault(score.arm, {})[score.name] = score.mean
    rows = [_numbers(row, view, further.get(row.arm, {})) for row in view.rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


FORMATS: Mapping[str, Callable[[Comparison], str]] = {"markdown": _markdown, "latex": _latex, "csv": _csv}


def _caption(comparison: Comparison, view: Overview) -> str:
    failed = failed_runs(view.failures, view.planned)
    return (
        f"{setting(comparison).title}: {view.finished} of {view.planned} runs. Means over seeds with 95 % intervals; "
        f"differences to {view.reference} are paired by seed, their intervals and p (Holm) hold for a number of seeds "
        "that was fixed beforehand; the verdicts, and the confidence sequences beside them, at any number."
        + (f" {failed}; the figures are of the other runs." if failed else "")
    )


def _rows(view: Overview) -> list[list[str]]:
    """Return the header, then one row for each arm."""
    return [_header(view), *(_cells(row, view) for row in view.rows)]


def _header(view: Overview) -> list[str]:
    first, *others = view.metrics
    names = ["arm", "seeds", _named(first), f"vs {view.reference}", "p (Holm)", *map(_named, others)]
    return [*names, *(["parameters", "training step", "inference"] if _priced(view) else []), "verdict"]


def _priced(view: Overview) -> bool:
    return any(row.cost for row in view.rows)


def _cells(row: Row, view: Overview) -> list[str]:
    first, *others = view.metrics
    score, difference = row.scores.get(first.name), row.differences.get(first.name)
    cells = [row.arm, str(row.runs)]
    cells.append(_with(number(score.mean, first.digits), interval(score, first.digits)) if score else "")
    if difference is None:
        cells += ["", ""]
    else:
        cells.append(_with(signed(difference.mean, first.digits), interval(difference, first.digits)))
        cells.append(p_value(difference.p_holm))
    cells += [number(row.scores[each.name].mean, each.digits) if each.name in row.scores else "" for each in others]
    if _priced(view):
        cells += _costs(row.cost)
    if row.arm == view.reference:
        return [*cells, "reference"]
    if difference is None:
        return [*cells, ""]
    return [*cells, _with(difference.verdict, forecast(difference) or interval(difference.evidence, first.digits))]


def _costs(cost: CostRecord | None) -> list[str]:
    if cost is None:
        return [""] * 3
    return [count(cost.parameters), ratio(cost.train_step_ratio), ratio(cost.inference_ratio)]


def _numbers(row: Row, view: Overview, further: Mapping[str, float]) -> dict[str, Any]:
    """Return the numbers of a row by the name of their column; those that are not known are left out."""
    values: dict[str, Any] = {"arm": row.arm, "seeds": row.runs, "planned": row.planned, "failed": row.failed}
    for metric in view.metrics:
        if score := row.scores.get(metric.name):
            found = {"mean": score.mean, "sd": score.std, "low": score.low, "high": score.high}
            values |= {f"{metric.name}_{name}": value for name, value in found.items()}
        if difference := row.differences.get(metric.name):
            evidence = difference.evidence
            found = {
                "mean": difference.mean,
                "low": difference.low,
                "high": difference.high,
                "p": difference.p,
                "p_holm": difference.p_holm,
                "e": evidence.e,
                "sequence_low": evidence.low,
                "sequence_high": evidence.high,
            }
            values |= {f"{metric.name}_difference_{name}": value for name, value in found.items()}
            values[f"{metric.name}_verdict"] = difference.verdict
    values |= further
    if row.cost:
        names = ("parameters", "macs", "train_step_ms", "train_step_ratio", "inference_ms", "inference_ratio")
        values |= {name: getattr(row.cost, name) for name in (*names, "peak_memory_mb", "peak_memory_ratio")}
    return {name: value for name, value in values.items() if not isinstance(value, float) or math.isfinite(value)}


def _named(metric: Metric) -> str:
    return f"{metric.label} ({metric.unit})" if metric.unit else metric.label


def _with(text: str, detail: str) -> str:
    return f"{text} ({detail})" if detail else text
