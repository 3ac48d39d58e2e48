"""What a comparison leaves behind: one small JSON file for each run, or for its failure, and one for all costs."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self, get_origin, get_type_hints

from saam._core import files
from saam._core.errors import printable

__all__ = ["CostRecord", "FailureRecord", "ProgressRecord", "RunRecord", "read_json"]

_LARGEST = 1e18
_ROUNDING = 1e-3  # a mean of logarithms can end a little below 0
_SIGNED = ("extra_parameters",)


@dataclass(frozen=True)
class RunRecord:
    """The result of one run: one arm trained with one seed.

    Attributes:
        id: Hash of everything that determines the result (`Plan.run_id`).
        arm: The attention, as in "saam,heads=4".
        model: Name of the backbone; ``model_options`` are its options.
        data: How results on this data set are labelled; ``data_options`` are its options.
        recipe: Every setting of the training.
        where: Placement of the attention in the backbone; ``start`` is how it starts.
        seed: Of the initial weights, the batch order and every augmentation draw.
        test: "accuracy" (%), "loss" (mean negative log-likelihood, nats) and "count", once, after the last epoch; the
            scores of a task of the user's own, which has no recipe, by metric name.
        validation: The same on the validation images; nothing for a task.
        curve: One mapping per epoch: numbers by name, "epoch" among them, and what was "observed", a mapping.
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

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain JSON values; numbers that are not finite (a diverged loss) become null."""
        record: dict[str, Any] = _finite(asdict(self))
        return record

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Return the record that `to_json` wrote; a null among the scores is NaN.

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


@dataclass(frozen=True)
class FailureRecord:
    """A run that failed: it has no result, the other runs went on.

    Attributes:
        id: Of the run, see `RunRecord`; ``arm`` and ``seed`` are its.
        error: Kind and message of what went wrong.
        trace: Where, as Python tells it.
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
        """Return the record that `to_json` wrote.

        Raises:
            ValueError: If fields are missing, unknown or have the wrong type.
        """
        return cls(**_checked(cls, values))


@dataclass(frozen=True)
class ProgressRecord:
    """How far a run is.

    Attributes:
        arm: Of the run, and ``seed``.
        epoch: The last one that is finished, of so many ``epochs``.
        numbers: Of that epoch, such as losses, by name.
    """

    arm: str
    seed: int
    epoch: int
    epochs: int
    numbers: dict[str, float]

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Return the record of these values.

        Raises:
            ValueError: If fields are missing, unknown, of the wrong type or out of range.
        """
        record = _checked(cls, values)
        if not record["epoch"] <= record["epochs"] or not all(
            _usual(value, None) for value in record["numbers"].values()
        ):
            raise ValueError(f"expected epochs and numbers by name, got {record!r:.200}")
        return cls(**record)


@dataclass(frozen=True)
class CostRecord:
    """What one arm costs, against the plain backbone measured beside it in the same process.

    Attributes:
        arm: The attention; "none" is the plain backbone.
        parameters: Number of trainable parameters; ``extra_parameters`` is the number above the plain backbone's.
        macs: multiply-accumulates of one forward pass of one image (what counts as one: `saam.functional.arithmetic`).
        train_step_ms: Median time of forward, loss, backward and optimizer step on one batch; inference_ms: of a
            forward pass without gradient. Their ``spread`` is the interquartile range, their ``ratio`` the median over
            rounds of the time divided by the plain backbone's time in the same round, and their ``ratio_spread`` the
            interquartile range of that; None in records of old.
        peak_memory_mb: Most memory (10^6 bytes) that tensors held at once during a training step: weights, gradients,
            optimizer state and activations.
        batch_size: Images in the batch; ``image_size`` is their (height, width).
        threads: Of the process that measured.
        device: On which it ran.
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
        """Return the record that `to_json` wrote.

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
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError are both
        raise ValueError(f"{path} is not a JSON file of saam ({error}); delete it, and it will be made again") from None


def _finite(value: Any) -> Any:
    """Replace, at any depth, numbers that JSON or a sum of squares cannot hold by None."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not abs(value) <= _LARGEST else value


def _checked(cls: type[Any], values: object) -> dict[str, Any]:
    """Return the fields of a record after a check of names and types; lists become tuples where the field is one."""
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
            raise ValueError(f"field {name!r} must be a number that is usual there, got {value!r:.80}")
        record[name] = "\n".join(map(printable, value.split("\n"))) if isinstance(value, str) else value
    if "image_size" in record and not _is_size(record["image_size"]):
        raise ValueError(f"field 'image_size' must be (height, width), got {record['image_size']!r:.80}")
    return record


def _scores(name: str, values: Mapping[str, Any], *, of_images: bool) -> dict[str, float]:
    """Return the scores of a record after a check; a null is NaN. A task of the user's own has scores of its own."""
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
    """Raise unless a curve has numbers by name for one epoch after the other, beside what was observed."""
    last = 0
    for entry in curve:
        if not isinstance(entry, dict) or not isinstance(epoch := entry.get("epoch"), int) or not last < epoch <= 10**9:
            raise ValueError(f"field 'curve' must hold epochs, numbered from 1 in their order, got {entry!r:.80}")
        last = epoch
        for name, value in entry.items():
            if name == "observed":
                _check_observed(value)
            elif value is not None and not _usual(value, None):
                raise ValueError(f"{name!r:.80} of epoch {epoch} must be a usual number, got {value!r:.80}")


def _check_observed(observed: Any) -> None:
    """Raise unless this is a mapping, in which "score_use" holds numbers by name for each site."""
    use = observed.get("score_use", {}) if isinstance(observed, dict) else None
    if not isinstance(use, dict) or not all(
        isinstance(site, dict) and all(value is None or _usual(value, None) for value in site.values())
        for site in use.values()
    ):
        raise ValueError(f"what was observed must be a mapping, with numbers for each site, got {observed!r:.80}")


def _is_size(size: Any) -> bool:
    return len(size) == 2 and all(isinstance(side, int) and _usual(side, 1) for side in size)


def _usual(value: Any, least: float | None) -> bool:
    """Whether a value is a number that sums and squares can be made of, and not below the least."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST
    return number and (least is None or value >= least)
