"""The file plan.json of a comparison's folder: its plan, the ids of its runs, and whether another plan fits it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from saam._core.files import json_bytes, write_atomically
from saam.comparison.plan import Plan, check_plan
from saam.comparison.records import RunRecord, read_json
from saam.comparison.task import TaskPlan
from saam.models import Preprocessing

__all__ = [
    "check_metrics",
    "check_setting",
    "kept_aliases",
    "kept_costs",
    "kept_precision",
    "load_plan",
    "read_plan",
    "write_plan",
]

_SIDES = ("arms", "seeds", "reference", "focus", "aliases", "stopped")  # fields in which plans of a folder may differ
_RUN_ID = re.compile(r"[0-9a-f]{16}")
_MOST_CLASSES = 1_000_000


def write_plan(
    out: Path,
    plan: Plan | TaskPlan,
    *,
    classes: int,
    runs: Sequence[str],
    costs: str,
    preprocessing: Preprocessing | None = None,
) -> None:
    """Write the plan, with what is needed to find its results: the ids of its runs in order, and that of its costs."""
    content = {"plan": plan.to_json(), "classes": classes, "runs": list(runs), "costs": costs}
    content |= {} if preprocessing is None else {"preprocessing": preprocessing.to_json()}
    write_atomically({out / "plan.json": json_bytes(content)})


def read_plan(out: Path) -> tuple[Plan | TaskPlan, dict[str, Any]]:
    """Return the plan in a folder, and all that its file holds.

    Raises:
        FileNotFoundError: The folder holds none.
        ValueError: The file is damaged.
    """
    file = out / "plan.json"
    if not file.exists():
        raise FileNotFoundError(f"{out} holds no comparison: expected {file.name} in it; run the comparison first")
    content = read_json(file)
    try:
        for name, kind in {"plan": dict, "classes": int, "runs": list, "costs": str}.items():
            if not isinstance(content, dict) or not isinstance(content.get(name), kind):
                raise ValueError(f"expected an object whose {name!r} is of type {kind.__name__}")
        of_task = "task" in content["plan"]
        plan = TaskPlan.from_json(content["plan"]) if of_task else Plan.from_json(content["plan"])
        runs = content["runs"]
        if isinstance(content["classes"], bool) or not (not of_task) <= content["classes"] <= _MOST_CLASSES:
            raise ValueError(f"expected the number of classes, 1 to {_MOST_CLASSES}, got {content['classes']!r:.80}")
        expected = len(plan.schedule())
        if len(runs) != expected or not all(isinstance(run, str) and _RUN_ID.fullmatch(run) for run in runs):
            raise ValueError(f"expected the ids of {expected} runs, got {runs!r:.200}; an id has 16 digits, 0 to f")
        if len(set(runs)) < expected:
            raise ValueError("it gives one id to several runs")
        if "preprocessing" in content:
            Preprocessing.from_json(content["preprocessing"])
    except (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} does not hold the plan of a comparison: {error!s:.500}; delete it and run the comparison again, "
            "finished runs are kept"
        ) from None
    return plan, content


def load_plan(path: str | Path) -> Plan:
    """Return the plan in a folder or plan.json, to run it: it may train what its options say, and start from what is
    published, but names no file or address to fetch.

    Raises:
        FileNotFoundError: There is none.
        ValueError: The file is damaged, or asks for what is not taken from a file.
    """
    path = Path(path)
    plan, _ = read_plan(path.parent if path.suffix == ".json" else path)
    if isinstance(plan, TaskPlan):
        raise ValueError(f"{path} calls {plan.task}, and code is not taken from a file: run it from Python")
    check_plan(plan)
    return plan


def kept_aliases(out: Path, focus: str) -> dict[str, str]:
    """Return what the labels of arms stand for in a folder; nothing where it holds no comparison, or another focus arm.

    Args:
        out: The folder.
        focus: Label of the focus arm, without aliases.

    Raises:
        ValueError: The plan in the folder is damaged.
    """
    if not (out / "plan.json").is_file():
        return {}
    kept = read_plan(out)[0]
    return dict(kept.aliases) if kept.arm(kept.focus).label == focus else {}


def kept_precision(out: Path) -> str:
    """Return the precision of the comparison in a folder; nothing where it holds none, or none of training by a recipe.

    Raises:
        ValueError: The plan in the folder is damaged.
    """
    if not (out / "plan.json").is_file():
        return ""
    kept = read_plan(out)[0]
    return kept.recipe.precision if isinstance(kept, Plan) and kept.recipe.precision != "auto" else ""


def kept_costs(out: Path, plan: Plan) -> str:
    """Return the id of the costs that a folder has for these arms; empty if it has none.

    Raises:
        ValueError: The plan in the folder is damaged.
    """
    if not (out / "plan.json").is_file():
        return ""
    kept, content = read_plan(out)
    return str(content["costs"]) if kept.aliases == plan.aliases else ""


def check_setting(out: Path, plan: Plan | TaskPlan, fingerprint: str) -> None:
    """Refuse a folder that holds a comparison of another setting; other arms and further seeds are welcome.

    Raises:
        ValueError: The setting is another, a metric was declared otherwise, new seeds are below those of the folder, or
            the plan in it is damaged.
    """
    if not (out / "plan.json").is_file():
        return
    kept, content = read_plan(out)
    what = f"{kept.model} on {kept.data}" if isinstance(kept, Plan) else f"the function {kept.task}"
    others = ["what is compared"] if type(kept) is not type(plan) else []
    if not others:
        _check_labels(out, kept, plan)
        same = replace(plan, **{name: getattr(kept, name) for name in _SIDES})
        known = {plan.arm(arm).name for arm in plan.arms}  # code that only the folder names is not imported
        equal = {
            run: same.run_id(*run, fingerprint=fingerprint) == kept_id
            for run, kept_id in zip(same.schedule(), content["runs"], strict=True)
            if same.arm(run[0]).name in known or not same.arm(run[0]).own
        }
        if all(equal.values()):
            _check_declared(out, kept, plan)
            runs = dict(zip(kept.schedule(), content["runs"], strict=True))
            runs |= {run: plan.run_id(*run, fingerprint=fingerprint) for run in plan.schedule()}
            _check_seeds(out, kept, plan, runs)
            return
        others = [entry.name for entry in fields(plan) if getattr(same, entry.name) != getattr(kept, entry.name)]
        others = others or _unnamed(same, {arm for (arm, _), same_id in equal.items() if not same_id})
    raise ValueError(
        f"{out} holds another comparison ({what}, arms {', '.join(kept.arms)}; it differs in "
        f"{', '.join(others)}): choose another --out or remove it"
    )


def check_metrics(out: Path, plan: Plan | TaskPlan, records: Iterable[RunRecord]) -> None:
    """Refuse metrics that the finished runs do not have.

    Raises:
        ValueError: A run has no score of that name.
    """
    for record in records:
        if missing := [metric.name for metric in plan.metrics if metric.name not in record.test]:
            raise ValueError(
                f"{out / 'plan.json'} compares {', '.join(missing)!r:.80}, and the runs have "
                f"{', '.join(sorted(record.test))!s:.200} alone: choose metrics among these, or another --out"
            )


def _check_declared(out: Path, kept: Plan | TaskPlan, plan: Plan | TaskPlan) -> None:
    """Refuse another declaration of a metric once there are runs: verdicts hold for what was fixed before the first."""
    if not any((out / "runs").glob("*.json")):
        return
    before, names = {metric.name: metric for metric in kept.metrics}, [metric.name for metric in plan.metrics]
    if names[0] != kept.metrics[0].name or not before.keys() <= set(names):
        raise ValueError(
            f"{out} holds runs of a comparison of {', '.join(before)}, of which the first decides, as fixed before; "
            f"got {', '.join(names)}: keep these, add others behind them, or choose another --out"
        )
    for metric in plan.metrics:
        for field in ("better", "spread", "delta", "low", "high"):
            old, new = getattr(before.get(metric.name, metric), field), getattr(metric, field)
            if old != new:
                raise ValueError(
                    f"{out} holds runs of a comparison whose metric {metric.name} has {field} {old}, fixed before the "
                    f"first run; got {new}: keep {old}, or choose another --out"
                )


def _check_seeds(out: Path, kept: Plan | TaskPlan, plan: Plan | TaskPlan, runs: Mapping[tuple[str, int], str]) -> None:
    """Refuse new seeds below finished ones: the verdict takes seeds in their order, which is that of looking."""
    finished = sorted(run for run, run_id in runs.items() if (out / "runs" / f"{run_id}.json").exists())
    last, known = dict(finished), {*finished, *kept.schedule()}
    for arm, seed in plan.schedule():
        if (arm, seed) not in known and seed < last.get(arm, seed):
            raise ValueError(
                f"{out} has runs of {arm} with seeds up to {last[arm]}, and a verdict that was looked at holds only if "
                f"others follow them: add seeds above {last[arm]}, or choose another --out"
            )


def _check_labels(out: Path, kept: Plan | TaskPlan, plan: Plan | TaskPlan) -> None:
    """Refuse another label for an arm that the folder has: its records have the label that it had."""
    labels = {kept.arm(label).label: label for label in kept.arms}
    for label in plan.arms:
        spelled = plan.arm(label).label
        if (old := labels.get(spelled, label)) != label:
            raise ValueError(f"{out} has the arm {spelled!r} as {old!r}: give it that label, not {label!r}")


def _unnamed(plan: Plan | TaskPlan, changed: set[str]) -> list[str]:
    """Return what may differ where no field of the plan does, though the runs of some arms have other ids."""
    arms = {arm: plan.arm(arm).name for arm in plan.arms if arm in changed and plan.arm(arm).own}
    if arms.keys() == changed < set(plan.arms):
        return [f"the code of {' and '.join(arms.values())}"]
    own = [name for name in plan.code(*changed) if arms.keys() == changed or name not in arms.values()]
    code = f"the code of {' or '.join(own)}" if own else "the code"
    return [f"{'' if isinstance(plan, TaskPlan) else 'the images, '}{code} or the version of saam or torch"]
