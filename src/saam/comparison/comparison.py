"""A comparison as far as it has got, its plan and its results, and what a folder holds of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from saam._core.errors import one_line
from saam._core.files import read_bytes
from saam._core.html import html_table
from saam.comparison.network import build_model, without_fetching
from saam.comparison.plan import Plan
from saam.comparison.plan_file import check_metrics, read_plan
from saam.comparison.records import CostRecord, FailureRecord, ProgressRecord, RunRecord
from saam.comparison.scores_table import scores_table
from saam.comparison.store import read_costs, read_failures, read_records, record_file, weights_file
from saam.comparison.task import TaskPlan
from saam.models import Preprocessing
from saam.models.from_file import room_for

if TYPE_CHECKING:
    import pandas

__all__ = ["Comparison", "load_comparison", "load_model"]

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
    plan, content = read_plan(out)
    if isinstance(plan, TaskPlan):
        raise ValueError(
            f"{out} holds a comparison of the function {plan.task}, which alone can build its networks: build one, and "
            "load the weights from the folder's weights/ with safetensors"
        )
    run_id = dict(zip(plan.schedule(), content["runs"], strict=True)).get((arm, seed), "")
    file, record = weights_file(out, run_id), record_file(out, run_id)
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
