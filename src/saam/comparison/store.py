"""The folder in which a comparison is kept.

    OUT/plan.json                  the plan, and the id of each of its runs
    OUT/runs/<id>.json             one record for each finished run
    OUT/weights/<id>.safetensors   the network that it left
    OUT/costs.json                 what the arms cost

Files are written whole or not at all, the weights of a run before its record.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from saam._files import write_atomically
from saam.comparison.plan import Plan
from saam.comparison.records import CostRecord, RunRecord, read_json
from saam.comparison.runner import build_model

__all__ = [
    "Comparison",
    "check_setting",
    "load_comparison",
    "load_model",
    "read_costs",
    "read_records",
    "write_costs",
    "write_plan",
    "write_run",
]


@dataclass(frozen=True)
class Comparison:
    """A comparison as far as it has got.

    Attributes:
        plan: what is compared.
        records: the finished runs, in the order of ``plan.schedule()``.
        costs: one record for the plain backbone and for every arm; empty until they are measured.
        classes: of the data; None where that is not known.
    """

    plan: Plan
    records: tuple[RunRecord, ...]
    costs: tuple[CostRecord, ...]
    classes: int | None = None


def load_comparison(out: str | Path) -> Comparison:
    """Return the comparison that a folder holds, as far as it has got; nothing is run.

    Raises:
        FileNotFoundError: the folder holds none.
        ValueError: a file is damaged; the error names it.
    """
    out = Path(out)
    plan, content = _read_plan(out)
    records, costs = read_records(out, content["runs"]), read_costs(out, content["costs"])
    return Comparison(plan, tuple(records.values()), costs, content["classes"])


def load_model(out: str | Path, arm: str, seed: int) -> nn.Module:
    """Return the network that a finished run left, on the CPU and in evaluation mode.

    Raises:
        FileNotFoundError: the folder holds no comparison, no such run has finished in it, or its network was removed.
        ValueError: a file is damaged; the error names it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    out = Path(out)
    plan, content = _read_plan(out)
    run_id = dict(zip(plan.schedule(), content["runs"], strict=True)).get((arm, seed), "")
    file, record = _weights(out, run_id), _record(out, run_id)
    again = f"saam compare --plan {out / 'plan.json'} --out {out}"
    if not file.is_file():
        gone = f"{file} is gone; to train it again delete {record}, then"
        todo = gone if record.is_file() else "that run has not finished;"
        raise FileNotFoundError(f"{out} has no network of arm {arm!r} with seed {seed}: {todo} {again}")
    model = build_model(plan, arm, seed=seed, classes=content["classes"])
    try:
        model.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{file} does not hold the weights of {arm!r} ({error}); to train it again delete {record}, then {again}"
        ) from error
    return model.eval()


def check_setting(out: Path, plan: Plan, fingerprint: str) -> None:
    """Refuse a folder that holds a comparison of another setting; other arms and seeds of the same are welcome.

    Raises:
        ValueError: the setting is another, or the plan in the folder is damaged.
    """
    if not (out / "plan.json").is_file():
        return
    kept, content = _read_plan(out)
    same = replace(plan, **{name: getattr(kept, name) for name in ("arms", "seeds", "reference", "focus")})
    if [same.run_id(*run, fingerprint=fingerprint) for run in same.schedule()] != content["runs"]:
        others = [entry.name for entry in fields(Plan) if getattr(same, entry.name) != getattr(kept, entry.name)]
        raise ValueError(
            f"{out} holds another comparison ({kept.model} on {kept.data}, arms {', '.join(kept.arms)}; it differs in "
            f"{', '.join(others) or 'the images or the version of saam or torch'}): choose another --out or remove it"
        )


def write_plan(out: Path, plan: Plan, *, classes: int, runs: Sequence[str], costs: str) -> None:
    """Keep the plan with what it takes to find its results: the ids of its runs in order, and that of its costs."""
    content = {"plan": plan.to_json(), "classes": classes, "runs": list(runs), "costs": costs}
    write_atomically({out / "plan.json": _json(content)})


def write_run(out: Path, record: RunRecord, weights: bytes) -> None:
    """Keep a finished run: first its network, in safetensors' format, then its record."""
    for folder in ("weights", "runs"):
        (out / folder).mkdir(exist_ok=True)
    write_atomically({_weights(out, record.id): weights, _record(out, record.id): _json(record.to_json())})


def write_costs(out: Path, costs: Iterable[CostRecord], costs_id: str) -> None:
    """Keep the costs, with a hash of all that they depend on."""
    write_atomically({out / "costs.json": _json({"id": costs_id, "costs": [cost.to_json() for cost in costs]})})


def read_records(out: Path, ids: Iterable[str]) -> dict[str, RunRecord]:
    """Return those of the runs that have finished, by id.

    Raises:
        ValueError: a record is damaged; the error names the file.
    """
    records = {}
    for file in (_record(out, run_id) for run_id in ids):
        if file.is_file():
            content = read_json(file)
            try:
                record = RunRecord.from_json(content)
                if record.id != file.stem:
                    raise ValueError(f"it has the id {record.id!r}")
            except ValueError as error:
                raise ValueError(f"{file} is not the record of that run: {error}; delete it to run again") from None
            records[record.id] = record
    return records


def read_costs(out: Path, costs_id: str) -> tuple[CostRecord, ...]:
    """Return the costs if those with this id are kept, otherwise none.

    Raises:
        ValueError: the file is damaged; the error names it.
    """
    file = out / "costs.json"
    if not file.is_file():
        return ()
    content = read_json(file)
    try:
        return tuple(map(CostRecord.from_json, content["costs"])) if content["id"] == costs_id else ()
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} does not hold costs: {error}; delete it to measure again") from None


def _read_plan(out: Path) -> tuple[Plan, dict[str, Any]]:
    file = out / "plan.json"
    if not file.is_file():
        raise FileNotFoundError(f"{out} holds no comparison: expected {file.name} in it; run the comparison first")
    content = read_json(file)
    try:
        for name, kind in {"plan": dict, "classes": int, "runs": list, "costs": str}.items():
            if not isinstance(content, dict) or not isinstance(content.get(name), kind):
                raise ValueError(f"expected an object whose {name!r} is of type {kind.__name__}")
        plan, runs = Plan.from_json(content["plan"]), content["runs"]
        if len(runs) != len(plan.schedule()) or not all(isinstance(run, str) for run in runs):
            raise ValueError(f"expected the ids of {len(plan.schedule())} runs, got {runs}")
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file} does not hold the plan of a comparison: {error}; delete it and run the comparison again, "
            "finished runs are kept"
        ) from None
    return plan, content


def _record(out: Path, run_id: str) -> Path:
    return out / "runs" / f"{run_id}.json"


def _weights(out: Path, run_id: str) -> Path:
    return out / "weights" / f"{run_id}.safetensors"


def _json(values: object) -> bytes:
    return (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()
