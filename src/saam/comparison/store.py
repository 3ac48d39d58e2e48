"""The folder in which a comparison is kept.

    OUT/plan.json                  the plan, and the id of each of its runs
    OUT/runs/<id>.json             one record for each finished run
    OUT/weights/<id>.safetensors   the network that it left
    OUT/scores/<id>.safetensors    its scores on each test image, by metric name (float16)
    OUT/failures/<id>.json         one record for each run that failed
    OUT/states/<id>.pt             the state of a run that is not finished, after its last epoch; <id>.json says how
                                   far; a task of the user's own has the folder <id>/ and <id>.curve.json instead
    OUT/leases/<id>.<n>            who is at work on a run
    OUT/costs.json                 what the arms cost

Files are written whole or not at all, the weights of a run before its record.
"""

import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from saam._core.errors import one_line
from saam._core.files import read_bytes, write_atomically
from saam._core.html import html_table
from saam.comparison.job import Finished, build_model, without_fetching
from saam.comparison.plan import Plan, check_plan
from saam.comparison.records import CostRecord, FailureRecord, ProgressRecord, RunRecord, read_json
from saam.comparison.scores_table import scores_table
from saam.comparison.task import TaskPlan
from saam.models import Preprocessing
from saam.models.from_file import room_for

if TYPE_CHECKING:
    import pandas

__all__ = [
    "Comparison",
    "check_metrics",
    "check_setting",
    "forget_failure",
    "kept_aliases",
    "kept_costs",
    "kept_precision",
    "load_comparison",
    "load_model",
    "load_plan",
    "make_states",
    "read_costs",
    "read_failures",
    "read_progress",
    "read_records",
    "read_values",
    "state_file",
    "tidy_states",
    "write_costs",
    "write_failure",
    "write_plan",
    "write_run",
]


_SIDES = ("arms", "seeds", "reference", "focus", "aliases", "stopped")  # fields in which plans of a folder may differ
_RUN_ID = re.compile(r"[0-9a-f]{16}")
_MOST_CLASSES = 1_000_000

# What libraries raise for sizes and options that do not fit together, beside ValueError.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


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
    """

    plan: Plan | TaskPlan
    records: tuple[RunRecord, ...]
    costs: tuple[CostRecord, ...]
    classes: int | None = None
    failures: tuple[FailureRecord, ...] = ()
    progress: tuple[ProgressRecord, ...] = ()
    class_names: tuple[str, ...] = ()

    def __repr__(self) -> str:
        plan, done = self.plan, f"{len(self.records)} of {len(self.plan.schedule())} runs"
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
    plan, content = _read_plan(out)
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
    )


def load_model(out: str | Path, arm: str, seed: int) -> nn.Module:
    """Return the network that a finished run left, on the CPU and in evaluation mode.

    The folder may come from a stranger: :mod:`saam.models.from_file` says what is built from it.

    Raises:
        FileNotFoundError: The folder holds no comparison, no such run has finished in it, or its network was removed.
        ValueError: A file is damaged, or asks for what is not taken from a file; the error names it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    out = Path(out)
    plan, content = _read_plan(out)
    if isinstance(plan, TaskPlan):
        raise ValueError(
            f"{out} holds a comparison of the function {plan.task}, which alone can build its networks: build one, and "
            "load the weights from the folder's weights/ with safetensors"
        )
    run_id = dict(zip(plan.schedule(), content["runs"], strict=True)).get((arm, seed), "")
    file, record = _weights(out, run_id), _record(out, run_id)
    again = f"saam compare --plan {out / 'plan.json'} --out {out}"
    if not file.exists():
        gone = f"{file} is gone; to train it again delete {record}, then"
        todo = gone if record.is_file() else "that run has not finished;"
        raise FileNotFoundError(f"{out} has no network of arm {arm!r} with seed {seed}: {todo} {again}")
    damaged = f"{file} does not hold the weights of {arm!r} ({{}}); to train it again delete {record}, then {again}"
    try:
        weights = from_bytes(read_bytes(file))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(damaged.format(one_line(error))) from error
    try:
        with room_for(weights):
            model = build_model(without_fetching(plan), arm, seed=seed, classes=content["classes"])
    except _DAMAGE as error:
        raise ValueError(f"{out / 'plan.json'} describes no network that can be built: {error}") from error
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(damaged.format(one_line(error))) from error
    if "preprocessing" in content:
        model.preprocessing = Preprocessing.from_json(content["preprocessing"])  # type: ignore[assignment]
    return model.eval()


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
    kept = _read_plan(out)[0]
    return dict(kept.aliases) if kept.arm(kept.focus).label == focus else {}


def kept_precision(out: Path) -> str:
    """Return the precision of the comparison in a folder; nothing where it holds none, or none of training by a recipe.

    Raises:
        ValueError: The plan in the folder is damaged.
    """
    if not (out / "plan.json").is_file():
        return ""
    kept = _read_plan(out)[0]
    return kept.recipe.precision if isinstance(kept, Plan) and kept.recipe.precision != "auto" else ""


def check_setting(out: Path, plan: Plan | TaskPlan, fingerprint: str) -> None:
    """Refuse a folder that holds a comparison of another setting; other arms and seeds of the same are welcome.

    Raises:
        ValueError: The setting is another, or the plan in the folder is damaged.
    """
    if not (out / "plan.json").is_file():
        return
    kept, content = _read_plan(out)
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
            return
        others = [entry.name for entry in fields(plan) if getattr(same, entry.name) != getattr(kept, entry.name)]
        others = others or _unnamed(same, {arm for (arm, _), same_id in equal.items() if not same_id})
    raise ValueError(
        f"{out} holds another comparison ({what}, arms {', '.join(kept.arms)}; it differs in "
        f"{', '.join(others)}): choose another --out or remove it"
    )


def _check_declared(out: Path, kept: Plan | TaskPlan, plan: Plan | TaskPlan) -> None:
    """Refuse another declaration of a metric once there are runs: verdicts hold for what was fixed before the first."""
    if not any((out / "runs").glob("*.json")):
        return
    before = {metric.name: metric for metric in kept.metrics}
    for metric in plan.metrics:
        for field in ("better", "spread", "delta"):
            old, new = getattr(before.get(metric.name, metric), field), getattr(metric, field)
            if old != new:
                raise ValueError(
                    f"{out} holds runs of a comparison whose metric {metric.name} has {field} {old}, fixed before the "
                    f"first run; got {new}: keep {old}, or choose another --out"
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
    write_atomically({out / "plan.json": _json(content)})


def write_run(out: Path, finished: Finished) -> None:
    """Keep a finished run: first its network and its scores by image, then its record; its state is not needed now."""
    record = finished.record
    for folder in ("weights", "scores", "runs"):
        (out / folder).mkdir(exist_ok=True)
    files = {_weights(out, record.id): finished.weights, _scores(out, record.id): finished.scores}
    write_atomically(
        {path: content for path, content in files.items() if content}
        | {_record(out, record.id): _json(record.to_json())}
    )
    for folder in ("weights", "scores", "runs"):
        _forget(out / folder, f".*{record.id}*")  # half-written, by a kill
    forget_state(out, record.id)


def write_failure(out: Path, failure: FailureRecord) -> None:
    """Keep that a run failed; its state stays, to be looked at."""
    (out / "failures").mkdir(exist_ok=True)
    write_atomically({_failure(out, failure.id): _json(failure.to_json())})


def forget_failure(out: Path, run_id: str) -> None:
    """Forget that a run failed, and where it stopped."""
    _failure(out, run_id).unlink(missing_ok=True)
    forget_state(out, run_id)


def make_states(out: Path) -> None:
    """Make the folder of the states; a worker that does not see it keeps none."""
    (out / "states").mkdir(exist_ok=True)


def tidy_states(out: Path) -> None:
    """Remove the folder of the states if it is empty and no driver has a lease."""
    if not (out / "leases").exists():
        with suppress(OSError):
            (out / "states").rmdir()


def state_file(out: Path, run_id: str) -> Path:
    """Return where a run keeps its state after each epoch."""
    return out / "states" / f"{run_id}.pt"


def forget_state(out: Path, run_id: str) -> None:
    """Remove the state of a run, and what a kill left half-written beside it."""
    _forget(out / "states", f"*{run_id}*")
    rmtree(state_file(out, run_id).with_suffix(""), ignore_errors=True)  # what a task of the user's kept


def read_progress(out: Path, ids: Iterable[str]) -> tuple[ProgressRecord, ...]:
    """Return how far these runs are, as far as they have told."""
    found = []
    for run_id in ids:
        with suppress(OSError, ValueError):  # finished in this moment, or not begun
            found.append(ProgressRecord.from_json(read_json(state_file(out, run_id).with_suffix(".json"))))
    return tuple(found)


def write_costs(out: Path, costs: Iterable[CostRecord], costs_id: str) -> None:
    """Keep the costs, with a hash of all that they depend on, which the plan in the folder then has too."""
    content = {**_read_plan(out)[1], "costs": costs_id}
    write_atomically(
        {
            out / "costs.json": _json({"id": costs_id, "costs": [cost.to_json() for cost in costs]}),
            out / "plan.json": _json(content),
        }
    )


def kept_costs(out: Path, plan: Plan) -> str:
    """Return the id of the costs that a folder has for these arms; empty if it has none.

    Raises:
        ValueError: The plan in the folder is damaged.
    """
    if not (out / "plan.json").is_file():
        return ""
    kept, content = _read_plan(out)
    return str(content["costs"]) if kept.aliases == plan.aliases else ""


def read_records(out: Path, ids: Mapping[tuple[str, int], str]) -> dict[str, RunRecord]:
    """Return those of the runs that have finished, by id.

    Args:
        out: The folder.
        ids: (arm, seed) of each run -> its id.

    Raises:
        ValueError: A record is damaged or that of another run; the error names the file.
    """
    records = {}
    for (arm, seed), run_id in ids.items():
        file = _record(out, run_id)
        if file.exists():
            content = read_json(file)
            try:
                record = RunRecord.from_json(content)
                if record.id != run_id:
                    raise ValueError(f"it has the id {record.id!r:.80}")
                if (record.arm, record.seed) != (arm, seed):
                    raise ValueError(
                        f"it is of arm {record.arm!r:.80} with seed {record.seed}, not {arm!r} with {seed}"
                    )
            except ValueError as error:
                raise ValueError(f"{file} is not the record of that run: {error}; delete it to run again") from None
            records[record.id] = record
    return records


def read_failures(out: Path, ids: Mapping[tuple[str, int], str], records: Container[str]) -> dict[str, FailureRecord]:
    """Return those of the runs that failed and have no record, by id.

    Raises:
        ValueError: A record is damaged; the error names the file.
    """
    failures = {}
    for (arm, seed), run_id in ids.items():
        file = _failure(out, run_id)
        if run_id not in records and file.exists():
            content = read_json(file)
            try:
                failure = FailureRecord.from_json(content)
                if (failure.id, failure.arm, failure.seed) != (run_id, arm, seed):
                    raise ValueError(f"it is that of {failure.arm!r:.80} with seed {failure.seed}")
            except ValueError as error:
                raise ValueError(f"{file} is not the failure of that run: {error}; delete it to run again") from None
            failures[run_id] = failure
    return failures


def read_values(out: str | Path, run_id: str) -> dict[str, Tensor]:
    """Return the scores of a finished run on each test image, by name.

    Args:
        out: The folder.
        run_id: `RunRecord.id`.

    Returns:
        The score of each test image (N,) by metric name: "accuracy" (0 or 100 %) and "loss" (nats), or what a task of
        the user's own returned as `Outcome.values`. Runs of a plan also have "labels" and "predicted" (classes),
        "confidence" (probability of the predicted class) and "rank" (number of classes with a higher logit than the
        label).

    Raises:
        FileNotFoundError: They are not there.
        ValueError: The file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    file = _scores(Path(out), run_id)
    try:
        found = from_bytes(read_bytes(file))
        if wrong := [name for name, values in found.items() if values.is_complex() or values.dim() != 1]:
            raise ValueError(f"{wrong[0]!r:.80} is not one number for each image")
        if len(sizes := {len(values) for values in found.values()}) > 1:
            raise ValueError(f"it has scores of {' and of '.join(map(str, sorted(sizes)))} images")
        return {name: values.float() for name, values in found.items()}
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} does not hold scores by image ({error}); delete it and the run's record") from error


def read_costs(out: Path, costs_id: str) -> tuple[CostRecord, ...]:
    """Return the costs if those with this id are kept, otherwise none.

    Raises:
        ValueError: The file is damaged; the error names it.
    """
    file = out / "costs.json"
    if not file.exists():
        return ()
    content = read_json(file)
    try:
        return tuple(map(CostRecord.from_json, content["costs"])) if content["id"] == costs_id else ()
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} does not hold costs: {error}; delete it to measure again") from None


def _read_plan(out: Path) -> tuple[Plan | TaskPlan, dict[str, Any]]:
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
    plan, _ = _read_plan(path.parent if path.suffix == ".json" else path)
    if isinstance(plan, TaskPlan):
        raise ValueError(f"{path} calls {plan.task}, and code is not taken from a file: run it from Python")
    check_plan(plan)
    return plan


def _record(out: Path, run_id: str) -> Path:
    return out / "runs" / f"{run_id}.json"


def _weights(out: Path, run_id: str) -> Path:
    return out / "weights" / f"{run_id}.safetensors"


def _forget(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        if not file.is_dir():
            file.unlink(missing_ok=True)


def _scores(out: Path, run_id: str) -> Path:
    return out / "scores" / f"{run_id}.safetensors"


def _failure(out: Path, run_id: str) -> Path:
    return out / "failures" / f"{run_id}.json"


def _json(values: object) -> bytes:
    return (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()
