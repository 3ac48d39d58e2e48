"""The plan of a comparison: the arms, the seeds, and everything that they share."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

import torch

from saam._core.errors import printable, unknown
from saam._core.objects import reference_to, source_hash
from saam._core.options import parse_options
from saam._version import __version__
from saam.comparison.arm import Arm, is_own
from saam.comparison.metrics import ACCURACY, LOSS, Metric
from saam.comparison.schedule import checked_sides, schedule
from saam.data import kept_options, resolve_name, without_place
from saam.models import published_colours
from saam.models.from_file import check_attention, check_network
from saam.training import Recipe, create_recipe
from saam.training.records import Scores

__all__ = ["Plan", "check_plan"]

_NO_MATTER = ("root", "workers")  # options of data that do not change them
_LONGEST = 4096  # letters of a name or path
_LATER: dict[str, type] = {"metrics": list, "aliases": dict, "stopped": dict}  # fields that old plans do not have
_KINDS = {
    "recipe": dict,
    "arms": list,
    "seeds": list,
    "model_options": dict,
    "data_options": dict,
    **_LATER,
}  # else str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A comparison: arms x seeds, with the model, the data and the recipe that they share.

    Attributes:
        model: Name of the backbone, with ``model_options`` for `saam.models.create_model`; or the user's own class or
            function, or its ``package.module:Name``.
        data: Name of the data set, with ``data_options`` for `saam.data.load_data`; a folder is stored with its full
            path.
        recipe: The training.
        arms: Labels, as in `Arm`, or the user's own classes; or a mapping from labels to these.
        seeds: The seeds; every arm has one run per seed.
        where: The placement of the attention in all arms.
        start: How the attention starts: "identity", so that all arms of a seed start as the same function, or
            "default", as in the papers.
        reference: The arm to compare the others with. Default: "none", or else the first arm.
        focus: The arm that the report is about. Default: the first of the user's own, else the first score-based one,
            else the last that is neither a control nor the reference.
        metrics: The metrics to compare, the primary one first, with the scale of the verdict; fixed before the first
            run.
        aliases: Labels that are not names -> the arms that they stand for.
        stopped: Arms that are decided and need no more seeds -> their number of seeds.

    Raises:
        ValueError: If arms or seeds are empty or given twice, an attention or a metric is unknown, or the reference or
            focus is not an arm of the plan.
        TypeError: If seeds are not integers, or JSON cannot represent the options.
    """

    recipe: Recipe
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    model: str = "resnet8"
    model_options: dict[str, Any] = field(default_factory=dict)
    data: str = "photo-digits"
    data_options: dict[str, Any] = field(default_factory=dict)
    where: str = "residual"
    start: Literal["identity", "default"] = "identity"
    reference: str = ""
    focus: str = ""
    metrics: tuple[Metric, ...] = (ACCURACY, LOSS)
    aliases: dict[str, str] = field(default_factory=dict)
    stopped: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = checked_sides(self.arms, self.seeds, self.reference, self.focus, self.aliases)
        values["model"] = self.model if isinstance(self.model, str) else reference_to(self.model)
        for name in ("data", "where"):
            values[name] = getattr(self, name)
        for name in ("model", "data", "where"):
            if (text := values[name]) != printable(text):
                raise ValueError(f"{name} has characters that cannot be printed, {printable(text)!r}: rename it")
        values["data"] = resolve_name(self.data)
        for name in ("model_options", "data_options"):
            values[name] = _plain(name, getattr(self, name))
        if not self.metrics or len({metric.name for metric in self.metrics}) < len(self.metrics):
            raise ValueError("a comparison needs metrics with different names, the primary one first")
        known = [entry.name for entry in fields(Scores) if entry.type is float]
        for metric in self.metrics:
            if metric.name not in known:
                raise unknown("metric", metric.name, known)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def arm(self, label: str) -> Arm:
        """Return the arm with a label."""
        return Arm(self.aliases.get(label, label))

    def code(self, *arms: str) -> tuple[str, ...]:
        """Return the user's own classes and functions that the runs of these arms need; without arms, of all arms."""
        names = [self.model, *(side.name for side in map(self.arm, arms or self.arms) if side.own)]
        return tuple(dict.fromkeys(name for name in names if is_own(name)))

    def schedule(self) -> tuple[tuple[str, int], ...]:
        """Return (arm, seed) of every run: all arms of the first seed, then of the next, so that pairs fill up."""
        return schedule(self.arms, self.seeds, self.stopped)

    def run_id(self, arm: str, seed: int, *, fingerprint: str) -> str:
        """Return the name of a run: a hash of everything that determines its result, and of nothing else.

        The other arms and seeds, the location of data and output, and the number of workers are not included; neither
        are placement and start for the plain backbone. Processor and number of threads only change the rounding. They
        are not included either, but recorded in the environment of the record.

        Args:
            arm: Label of the arm.
            seed: Seed of the run.
            fingerprint: Hash of the data (`saam.data.Splits.fingerprint`).

        Raises:
            ValueError: If one of the user's classes or functions cannot be imported.
        """
        side = self.arm(arm)
        plain = side.plain
        content = {
            "saam": __version__,
            "torch": str(torch.__version__),
            "model": self.model,
            "model_options": self.model_options,
            "data": without_place(self.data),
            "data_options": {key: value for key, value in self.data_options.items() if key not in _NO_MATTER},
            "fingerprint": fingerprint,
            "recipe": self.recipe.to_dict(),
            "arm": side.label,
            "own": {name: source_hash(name) for name in self.code(arm)},
            "where": None if plain else self.where,
            "start": None if plain else self.start,
            "seed": seed,
            **({"colours": published_colours(self.model)} if self.pretrained else {}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def pretrained(self) -> bool:
        """Whether the networks start from published weights."""
        return bool(self.model_options.get("pretrained"))

    @classmethod
    def of_texts(
        cls,
        model: str | Callable[..., Any],
        data: str,
        recipe: str | Recipe,
        *,
        options: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> Self:
        """Return the plan of texts with options, as on the command line.

        Args:
            model: As in "resnet20,width=32"; or the user's own class or function.
            data: As in "cifar10,limit=1000".
            recipe: As in "cifar,epochs=30"; or the recipe itself.
            options: More options of the model.
            fields: Other fields of the plan.

        Raises:
            ValueError: If a text cannot be read, there is no such recipe, or as for the plan.
            TypeError: If the recipe has no such field.
        """
        name, model_options = parse_options(model) if isinstance(model, str) else (model, {})
        data, data_options = parse_options(data)
        if isinstance(recipe, str):
            recipe, changes = parse_options(recipe)
            recipe = create_recipe(recipe, **changes)
        return cls(
            model=name,  # type: ignore[arg-type]
            model_options={**model_options, **(options or {})},
            data=data,
            data_options=data_options,
            recipe=recipe,
            **fields,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        metrics = [metric.to_json() for metric in self.metrics]
        plan: dict[str, Any] = json.loads(json.dumps({**values, "recipe": self.recipe.to_dict(), "metrics": metrics}))
        return plan

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the plan with these values, the inverse of `to_json`.

        Raises:
            ValueError: If a field is unknown, missing or has the wrong type.
        """
        expected = {entry.name for entry in fields(cls)}
        values = {**{name: kind() for name, kind in _LATER.items()}, **values}
        if values.keys() != expected:
            raise ValueError(f"expected the fields {sorted(expected)} of a plan, got {sorted(values)}")
        for name, value in values.items():
            if not isinstance(value, kind := _KINDS.get(name, str)):
                raise ValueError(f"field {name!r} of a plan must be of type {kind.__name__}, got {value!r}")
        aliases, stopped = values["aliases"], values["stopped"]
        if not all(isinstance(count, int) and not isinstance(count, bool) and count > 0 for count in stopped.values()):
            raise ValueError(f"field 'stopped' of a plan must hold numbers of seeds, got {stopped!r:.200}")
        for arm in (*values["arms"], *aliases.values(), *filter(None, (values["reference"], values["focus"]))):
            if arm not in aliases:
                check_attention(arm)
        for name in ("model", "data", "where"):
            if len(values[name]) > _LONGEST:
                raise ValueError(f"field {name!r} of a plan has more than {_LONGEST} letters")
        metrics = tuple(map(Metric.from_json, values["metrics"])) or (ACCURACY, LOSS)
        return cls(**{**values, "recipe": Recipe.from_dict(values["recipe"]), "metrics": metrics})


def check_plan(plan: Plan) -> None:
    """Refuse a plan from a file that requests anything but architectures, published weights and data.

    Raises:
        ValueError: If a file may not set the name or an option of the network or of the data.
    """
    if own := plan.code():
        raise ValueError(f"the file names code, which is not imported: {', '.join(own)}; pass it yourself in the call")
    options = dict(plan.model_options)
    if not isinstance(options.pop("pretrained", False), bool):
        raise ValueError(f"the option 'pretrained' of {plan.model} must be true or false")
    check_network(plan.model, None, options)
    kept_options(plan.data, plan.data_options)


def _plain(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of options in the form of JSON, with tuples for lists, so that a saved plan equals the original."""
    try:
        return {key: _tuples(value) for key, value in json.loads(json.dumps(options)).items()}
    except TypeError as error:
        raise TypeError(f"{name} must hold plain values (numbers, strings, lists), got {options!r}: {error}") from None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
