"""The records of a comparison: one small JSON file for each run or failure, and one for all costs."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Self, get_origin, get_type_hints

from saam._core import files
from saam._core.errors import printable

__all__ = ["CostRecord", "FailureRecord", "Finished", "ProgressRecord", "RunRecord", "Tell", "read_json"]

Tell = Callable[[int, int, dict[str, float], dict[str, float]], object]
"""A function of epoch, epochs, the numbers to show, and all numbers of that epoch."""

_LARGEST = 1e18
_ROUNDING = 1e-3  # rounding can put a mean of logarithms slightly below 0
_SIGNED = ("extra_parameters",)


@dataclass(frozen=True)
class RunRecord:
    """The result of one run: one arm trained with one seed.

    Attributes:
        id: Hash of everything that determines the result (`Plan.run_id`).
        arm: The attention, as in "saam,heads=4".
        model: Name of the backbone; ``model_options`` are its options.
        data: Label of the data set; ``data_options`` are its options.
        recipe: Every setting of the training.
        where: Placement of the attention in the backbone; ``start`` is how it starts.
        seed: Seed of the initial weights, the batch order and every augmentation draw.
        test: "accuracy" (%), "loss" (mean negative log-likelihood, nats) and "count", after the last epoch. For the
            user's own task, which has no recipe, the scores by metric name.
        validation: The same on the validation images; empty for a task.
        curve: One mapping per epoch: numbers by name, including "epoch", and a mapping "observed".
        parameters: Number of trainable parameters.
        seconds: Wall time of the training.
        environment: Versions, machine and threads.
        finished: UTC time, ISO 8601.
    """

    id: str
    arm: str
    model: str
    model_options: dict[str, Any]
    data: str
    data_options: dict[str, Any]
    recipe: dict[str, Any]
    where: str
    start: str
    seed: int
    test: dict[str, float]
    validation: dict[str, float]
    curve: tuple[dict[str, Any], ...]
    parameters: int
    seconds: float
    environment: dict[str, Any]
    finished: str

    def as_read(self) -> Self:
        """Return the record as it will be read from its file."""
        return self.from_json(json.loads(json.dumps(self.to_json())))

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values; numbers that are not finite (a diverged loss) become null."""
        record: dict[str, Any] = _finite(asdict(self))
        return record

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Return the record with these values, the inverse of `to_json`; a null among the scores is NaN.

        Raises:
            ValueError: If fields are missing, unknown, of the wrong type or out of range.
        """
        record = _checked(cls, values)
        for name in ("test", "validation"):
            record[name] = _scores(name, record[name], of_images=bool(record["recipe"]))
        _check_curve(record["curve"])
        for name, value in record["environment"].items():
            if not isinstance(value, str | int | float | None):
                raise ValueError(f"field 'environment' must hold texts and numbers, got {name!r:.80}: {value!r:.80}")
        return cls(**record)


class Finished(NamedTuple):
    """The result of a job: the record, and in safetensors' format the weights and the scores by image."""

    record: RunRecord
    weights: bytes
    scores: bytes


@dataclass(frozen=True)
class FailureRecord:
    """A run that failed. It has no result; other runs continue.

    Attributes:
        id: Name of the run, see `RunRecord`; ``arm`` and ``seed`` are those of the run.
        error: Type and message of the error.
        trace: Python's traceback.
        environment: Versions, machine and threads.
        finished: UTC time, ISO 8601.
    """

    id: str
    arm: str
    seed: int
    error: str
    trace: str
    environment: dict[str, Any]
    finished: str

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Return the record with these values, the inverse of `to_json`.

        Raises:
            ValueError: If fields are missing, unknown or have the wrong type.
        """
        return cls(**_checked(cls, values))


@dataclass(frozen=True)
class ProgressRecord:
    """The progress of a run.

    Attributes:
        arm: Arm of the run; ``seed`` is its seed.
        epoch: The last finished epoch, out of ``epochs``.
        numbers: Numbers of that epoch by name, such as losses.
        curve: One mapping per finished epoch: numbers by name, including "epoch".
    """

    arm: str
    seed: int
    epoch: int
    epochs: int
    numbers: dict[str, float]
    curve: tuple[dict[str, Any], ...] = ()

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Return the record with these values.

        Raises:
            ValueError: If fields are missing, unknown, of the wrong type or out of range.
        """
        record = _checked(cls, values)
        if not record["epoch"] <= record["epochs"] or not all(
            _usual(value, None) for value in record["numbers"].values()
        ):
            raise ValueError(f"expected epochs and numbers by name, got {record!r:.200}")
        _check_curve(record.get("curve", ()))
        return cls(**record)


@dataclass(frozen=True)
class CostRecord:
    """The costs of one arm, relative to the plain backbone measured in turns with it in the same process.

    Attributes:
        arm: The attention; "none" is the plain backbone.
        parameters: Number of trainable parameters; ``extra_parameters`` is the difference to the plain backbone.
        macs: Multiply-accumulates of one forward pass of one image, as defined in `saam.functional.arithmetic`.
        train_step_ms: Median time of forward, loss, backward and optimizer step on one batch; ``inference_ms`` is that
            of a forward pass without gradient. Their ``spread`` is the interquartile range. Their ``ratio`` is the
            median over rounds of the time divided by the plain backbone's time in the same round, and their
            ``ratio_spread`` the interquartile range of these ratios; None in old records.
        peak_memory_mb: Largest memory (10^6 bytes) that tensors held at once during a training step: weights,
            gradients, optimizer state and activations.
        batch_size: Images in the batch; ``image_size`` is their (height, width).
        threads: Number of threads of the process that measured.
        device: Device of the measurement.
    """

    arm: str
    parameters: int
    extra_parameters: int
    macs: int
    macs_ratio: float
    train_step_ms: float
    train_step_spread_ms: float
    train_step_ratio: float
    inference_ms: float
    inference_spread_ms: float
    inference_ratio: float
    peak_memory_mb: float
    peak_memory_ratio: float
    batch_size: int
    image_size: tuple[int, int]
    threads: int
    device: str
    train_step_ratio_spread: float | None = None
    inference_ratio_spread: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Return the record with these values, the inverse of `to_json`.

        Raises:
            ValueError: If fields are missing, unknown or have the wrong type.
        """
        return cls(**_checked(cls, values))


def read_json(path: Path) -> Any:
    """Return the JSON values of a file.

    Raises:
        ValueError: If the file is not JSON; the error names it.
        FileNotFoundError: If there is no such file.
    """
    try:
        return files.read_json(path)
    except ValueError as error:  # both UnicodeDecodeError and JSONDecodeError
        raise ValueError(
            f"{path} is not a JSON file of saam ({error}); delete it, and it will be written again"
        ) from None


def _finite(value: Any) -> Any:
    """Replace, at any depth, numbers by None that JSON or a sum of squares cannot hold."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not abs(value) <= _LARGEST else value


def _checked(cls: type[Any], values: object) -> dict[str, Any]:
    """Return the fields of a record after checking names and types; lists become tuples if the field is one."""
    if not isinstance(values, dict):
        raise ValueError(f"expected the fields of a {cls.__name__}, got {type(values).__name__}")
    names = {field.name: field.default is MISSING for field in fields(cls)}
    missing = [name for name, required in names.items() if required and name not in values]
    unknown = sorted(values.keys() - set(names))
    if missing or unknown:
        raise ValueError(f"fields of {cls.__name__}: missing {missing}, unknown {unknown}")
    record = {}
    for name, hint in get_type_hints(cls).items():
        if values.get(name) is None and not names[name]:
            continue
        kind = float if hint == float | None else get_origin(hint) or hint
        value = tuple(values[name]) if kind is tuple and isinstance(values[name], list) else values[name]
        if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
            raise ValueError(f"field {name!r} must be {hint}, got {value!r:.80}")
        if kind in (int, float) and not _usual(value, None if name in _SIGNED else 0):
            raise ValueError(f"field {name!r} must be a number of ordinary size, got {value!r:.80}")
        record[name] = "\n".join(map(printable, value.split("\n"))) if isinstance(value, str) else value
    if "image_size" in record and not _is_size(record["image_size"]):
        raise ValueError(f"field 'image_size' must be (height, width), got {record['image_size']!r:.80}")
    return record


def _scores(name: str, values: Mapping[str, Any], *, of_images: bool) -> dict[str, float]:
    """Return the scores of a record after checking them; a null is NaN. The user's own task has its own scores."""
    scores = {key: math.nan if score is None else score for key, score in values.items()}
    if of_images and not {"accuracy", "loss", "count"} <= scores.keys():
        raise ValueError(f"field {name!r} must hold accuracy, loss and count, got {sorted(scores)!r:.80}")
    for key, score in scores.items():
        if not (isinstance(score, float) and math.isnan(score)) and not _usual(score, None):
            raise ValueError(f"field {name!r} must hold numbers, got {score!r:.80} as {key!r:.80}")
    if not of_images:
        return scores
    if scores["accuracy"] < 0 or scores["accuracy"] > 100:
        raise ValueError(f"the accuracy of field {name!r} must be 0 to 100 %, got {scores['accuracy']}")
    if scores["loss"] < -_ROUNDING:
        raise ValueError(f"the loss of field {name!r} must be 0 or above, got {scores['loss']}")
    if not isinstance(scores["count"], int) or scores["count"] < 1:
        raise ValueError(f"the count of field {name!r} must be a whole number, 1 or above, got {scores['count']}")
    return scores


def _check_curve(curve: tuple[Any, ...]) -> None:
    """Raise an error unless a curve has numbers by name for rising epochs, and valid observations."""
    last = 0
    for entry in curve:
        if not isinstance(entry, dict) or not isinstance(epoch := entry.get("epoch"), int) or not last < epoch <= 10**9:
            raise ValueError(f"field 'curve' must hold epochs, numbered from 1 in their order, got {entry!r:.80}")
        last = epoch
        for name, value in entry.items():
            if name == "observed":
                _check_observed(value)
            elif value is not None and not _usual(value, None):
                raise ValueError(f"{name!r:.80} of epoch {epoch} must be a number of ordinary size, got {value!r:.80}")


def _check_observed(observed: Any) -> None:
    """Raise an error unless "gate_use" and "score_use", where they are there, hold numbers by name for each site."""
    uses = [observed.get(name, {}) for name in ("gate_use", "score_use")] if isinstance(observed, dict) else [None]
    for use in uses:
        if not isinstance(use, dict) or not all(
            isinstance(site, dict) and all(value is None or _usual(value, None) for value in site.values())
            for site in use.values()
        ):
            raise ValueError(f"what was observed must be a mapping, with numbers for each site, got {observed!r:.80}")


def _is_size(size: Any) -> bool:
    return len(size) == 2 and all(isinstance(side, int) and _usual(side, 1) for side in size)


def _usual(value: Any, least: float | None) -> bool:
    """Return whether a value is a number small enough to be summed and squared, and at least the minimum."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST
    return number and (least is None or value >= least)
