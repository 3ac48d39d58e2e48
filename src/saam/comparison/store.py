"""The folder in which a comparison is kept.

    OUT/plan.json                  the plan, and the id of each of its runs
    OUT/runs/<id>.json             one record for each finished run
    OUT/weights/<id>.safetensors   the network that it left
    OUT/scores/<id>.safetensors    its scores on each test image, by metric name (float16)
    OUT/failures/<id>.json         one record for each run that failed
    OUT/states/<id>.pt             the state of a run that is not finished, after its last epoch; <id>.json says how
                                   far; a task of the user's own has the folder <id>/ and <id>.curve.json instead
    OUT/leases/<id>.<n>            who is at work on a run, or on "plan" or "costs"
    OUT/costs.json                 what the arms cost

Files are written whole or not at all, the weights of a run before its record.
"""

from collections.abc import Container, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

from torch import Tensor

from saam._core.files import json_bytes, read_bytes, write_atomically
from saam.comparison.plan_file import read_plan
from saam.comparison.records import CostRecord, FailureRecord, Finished, ProgressRecord, RunRecord, read_json

__all__ = [
    "count_others",
    "forget_failure",
    "forget_state",
    "make_states",
    "read_costs",
    "read_failures",
    "read_progress",
    "read_records",
    "read_values",
    "record_file",
    "state_file",
    "tidy_states",
    "weights_file",
    "write_costs",
    "write_failure",
    "write_run",
]


_REPEATED = ("FloatingPointError", "DamagedStateError")  # errors that the state would lead to again


def write_run(out: Path, finished: Finished) -> None:
    """Keep a finished run: first its network and its scores by image, then its record; its state is not needed now."""
    record = finished.record
    for folder in ("weights", "scores", "runs"):
        (out / folder).mkdir(exist_ok=True)
    files = {weights_file(out, record.id): finished.weights, _scores(out, record.id): finished.scores}
    write_atomically(
        {path: content for path, content in files.items() if content}
        | {record_file(out, record.id): json_bytes(record.to_json())}
    )
    for folder in ("weights", "scores", "runs"):
        _forget(out / folder, f".*{record.id}*")  # half-written, by a kill
    forget_state(out, record.id)


def write_failure(out: Path, failure: FailureRecord) -> None:
    """Keep that a run failed; its state stays, to be looked at."""
    (out / "failures").mkdir(exist_ok=True)
    write_atomically({_failure(out, failure.id): json_bytes(failure.to_json())})


def forget_failure(out: Path, failure: FailureRecord) -> None:
    """Forget that a run failed. It goes on after its last epoch, unless it would only fail again from there."""
    _failure(out, failure.id).unlink(missing_ok=True)
    if failure.error.startswith(_REPEATED):
        forget_state(out, failure.id)


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
    content = {**read_plan(out)[1], "costs": costs_id}
    write_atomically(
        {
            out / "costs.json": json_bytes({"id": costs_id, "costs": [cost.to_json() for cost in costs]}),
            out / "plan.json": json_bytes(content),
        }
    )


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
        file = record_file(out, run_id)
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


def count_others(out: Path, ids: Container[str]) -> int:
    """Return the number of finished runs in the folder that are none of these."""
    files = (out / "runs").glob("*.json")
    return sum(not file.name.startswith(".") and file.stem not in ids for file in files)


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


def record_file(out: Path, run_id: str) -> Path:
    """Return where the record of a finished run is."""
    return out / "runs" / f"{run_id}.json"


def weights_file(out: Path, run_id: str) -> Path:
    """Return where the network of a finished run is."""
    return out / "weights" / f"{run_id}.safetensors"


def _forget(folder: Path, pattern: str) -> None:
    for file in folder.glob(pattern):
        if not file.is_dir():
            file.unlink(missing_ok=True)


def _scores(out: Path, run_id: str) -> Path:
    return out / "scores" / f"{run_id}.safetensors"


def _failure(out: Path, run_id: str) -> Path:
    return out / "failures" / f"{run_id}.json"
