"""Comparisons of the user's own training: a function that trains one arm with one seed and returns its scores."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from saam._core.errors import printable
from saam._core.objects import is_reference, reference_to, resolve, source_hash
from saam._core.random import seeded
from saam._version import __version__
from saam.comparison.arm import PLAIN, Arm, is_own
from saam.comparison.metrics import Metric
from saam.comparison.schedule import checked_sides, schedule
from saam.models.from_file import check_attention
from saam.surgery import attach

__all__ = ["Context", "Outcome", "TaskPlan", "attention_of"]

_LONGEST = 4096  # letters of a name


@dataclass(frozen=True, kw_only=True)
class TaskPlan:
    """A comparison of arms x seeds by a training function of the user's own.

    Attributes:
        task: The function ``task(arm, seed, context)`` at the top of a file, or its ``package.module:name``. It trains
            the arm (a label) with the seed, and returns its scores by metric name, or an `Outcome`. Worker processes
            import it.
        arms: As in `saam.comparison.Plan`.
        seeds: One run of every arm for each.
        metrics: What is compared, the primary one first, with the scale of the verdict; fixed before the first run.
        options: Plain values that the function finds in ``context.options``.
        reference: The arm that all others are compared with; where none is given "none", or else the first arm.
        focus: The arm that the report is about; where none is given the first of the user's own, else the first
            score-based one, else the last that is neither a control nor the reference.
        aliases: Labels that are no names themselves -> what they stand for.
        stopped: Arms that have been told and need no more seeds -> how many they have.

    Raises:
        ValueError: As for `saam.comparison.Plan`, no metrics, or a function that worker processes cannot import.
        TypeError: Seeds that are not integers, or options that JSON cannot hold.
    """

    task: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: tuple[Metric, ...]
    options: dict[str, Any] = field(default_factory=dict)
    reference: str = ""
    focus: str = ""
    aliases: dict[str, str] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)

    KINDS: ClassVar[dict[str, type]] = {  # in JSON; else str
        "arms": list,
        "seeds": list,
        "metrics": list,
        "options": dict,
        "aliases": dict,
        "stopped": dict,
    }

    def __post_init__(self) -> None:
        values = checked_sides(self.arms, self.seeds, self.reference, self.focus, self.aliases)
        values["task"] = self.task if isinstance(self.task, str) else reference_to(self.task)
        if not is_reference(values["task"]):
            raise ValueError(f"expected a task as 'package.module:function', got {printable(values['task'])!r}")
        if not self.metrics or len({metric.name for metric in self.metrics}) < len(self.metrics):
            raise ValueError("a comparison needs metrics with different names, the primary one first")
        try:
            values["options"] = json.loads(json.dumps(self.options))
        except TypeError as error:
            raise TypeError(f"options must hold plain values (numbers, texts, lists): {error}") from None
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def title(self) -> str:
        """The function's name."""
        return self.task.rpartition(":")[2]

    def arm(self, label: str) -> Arm:
        """Return the arm of a label."""
        return Arm(self.aliases.get(label, label))

    def code(self, *arms: str) -> tuple[str, ...]:
        """Return the classes and functions of the user's own that the runs of these arms need; of all without any."""
        names = [self.task, *(side.name for side in map(self.arm, arms or self.arms) if side.own)]
        return tuple(dict.fromkeys(name for name in names if is_own(name)))

    def schedule(self) -> tuple[tuple[str, int], ...]:
        """Return (arm, seed) of every run: all arms of the first seed, then of the next, so that pairs fill up."""
        return schedule(self.arms, self.seeds, self.stopped)

    def run_id(self, arm: str, seed: int, *, fingerprint: str = "") -> str:
        """Return the name of a run: a hash of the function's source, its options, the arm and the seed.

        Args:
            arm: Label of the arm.
            seed: Seed of the run.
            fingerprint: Hash of the data, if there is one.

        Raises:
            ValueError: The function or a class of the user's own cannot be imported.
        """
        side = self.arm(arm)
        content = {
            "saam": __version__,
            "torch": str(torch.__version__),
            "own": {name: source_hash(name) for name in self.code(arm)},
            "options": self.options,
            "fingerprint": fingerprint,
            "arm": side.label,
            "seed": seed,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plan: dict[str, Any] = json.loads(
            json.dumps({**values, "metrics": [metric.to_json() for metric in self.metrics]})
        )
        return plan

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the plan that `to_json` wrote; nothing is imported.

        Raises:
            ValueError: A field that a plan does not have, one that is missing, or one of another type.
        """
        expected = {entry.name for entry in fields(cls)}
        if values.keys() != expected:
            raise ValueError(f"expected the fields {sorted(expected)} of a plan, got {sorted(values)}")
        for name, value in values.items():
            if not isinstance(value, kind := cls.KINDS.get(name, str)):
                raise ValueError(f"field {name!r} of a plan must be of type {kind.__name__}, got {value!r:.200}")
        if len(values["task"]) > _LONGEST:
            raise ValueError(f"field 'task' of a plan has more than {_LONGEST} letters")
        for arm in (*values["arms"], *values["aliases"].values()):
            if arm not in values["aliases"]:
                check_attention(arm)
        return cls(**{**values, "metrics": tuple(map(Metric.from_json, values["metrics"]))})


@dataclass(frozen=True)
class Context:
    """What a training function gets beside arm and seed.

    Attributes:
        arm: The arm, with the attention's name and options.
        seed: Of all that is drawn. The global generators of torch, NumPy and Python are seeded with it before the call.
        device: To train on.
        folder: Where the function may keep its state, to go on from there after a kill; it is removed when the run is
            finished. None where nothing can be kept.
        options: `TaskPlan.options`.
    """

    arm: Arm
    seed: int
    device: torch.device
    folder: Path | None
    options: Mapping[str, Any]
    on_report: Callable[[int, int, dict[str, float]], object] = field(repr=False)

    def build(
        self, make: Callable[[], nn.Module], *, where: Any = "residual", start: Any = "identity", **options: Any
    ) -> nn.Module:
        """Build a network, and put the arm's attention into it.

        The seed alone decides the network's initial weights, whatever the arm; the attention's come from a generator of
        their own. The global generator stays as it was.

        Args:
            make: Builds the network.
            where: Placement of the attention, see `saam.attach`.
            start: How the attention starts, see `saam.attach`.
            options: Of `saam.attach`, such as ``example``.

        Returns:
            The network, on the device.

        Raises:
            ValueError: The network has no site for the attention, or the arm is more than an attention: a wider
                backbone, one with options, or another head.
        """
        if self.arm.head is not None or self.arm.label not in (PLAIN, self.arm.attention):
            raise ValueError(
                f"context.build puts attention into a network of your own, which has no arm {self.arm.label!r}: leave "
                "that arm out, or build its network in your function"
            )
        with seeded(self.seed):
            model = make()
        if not self.arm.plain:
            attention, chosen = attention_of(self.arm)
            with seeded(self.seed + 2**31):
                attach(model, attention, where=where, start=start, **{**chosen, **options})
        return model.to(self.device)

    def report(self, epoch: int, epochs: int, **numbers: float) -> None:
        """Say how far the run is: for the learning curve in its record, and for the screen.

        Args:
            epoch: That is finished, from 1.
            epochs: Of the run.
            numbers: Of this epoch, such as ``loss`` and ``iou``.

        Raises:
            ValueError: The epoch is not between 1 and ``epochs``.
        """
        if not isinstance(epoch, int) or not isinstance(epochs, int) or not 1 <= epoch <= epochs:
            raise ValueError(f"expected a whole number from 1 to {epochs} as the epoch, got {epoch}")
        self.on_report(epoch, epochs, {name: float(number) for name, number in numbers.items()})


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a training function may return in place of its scores alone.

    Args:
        metrics: Score of the test by metric name.
        values: By metric name the score of each test image (N,), in the same order in all runs; kept for intervals over
            seeds and images, see `saam.comparison.read_values`.
        model: The trained network, to be kept.
    """

    metrics: Mapping[str, float]
    values: Mapping[str, Sequence[float] | Tensor] = field(default_factory=dict)
    model: nn.Module | None = None


def attention_of(arm: Arm) -> tuple[Any, dict[str, Any]]:
    """Return the attention of an arm as `saam.attach` takes it: its name, or what builds it, and its options."""
    if not arm.own:
        return arm.name, arm.options
    build = resolve(arm.name)
    return partial(build, **arm.options) if arm.options else build, {}
