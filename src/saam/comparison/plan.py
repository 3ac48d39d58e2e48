"""What is compared: the arms, the seeds, and everything that all of them share."""

import hashlib
import json
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

import torch

from saam._core.errors import printable, unknown
from saam._core.options import parse_options
from saam._version import __version__
from saam.comparison.metrics import ACCURACY, LOSS, Metric
from saam.data import kept_options, resolve_name
from saam.models.from_file import check_attention, check_network
from saam.nn import parse_attention
from saam.training import Recipe

__all__ = ["MOST_SEEDS", "PLAIN", "Arm", "Plan", "check_plan"]

PLAIN = "none"
MOST_SEEDS = 10_000
_LONGEST = 4096  # letters of a name or path
_LARGEST_SEED = 2**63 - 1
_KINDS = {"recipe": dict, "arms": list, "seeds": list, "model_options": dict, "data_options": dict}  # in JSON; else str


@dataclass(frozen=True)
class Arm:
    """The attention that one arm puts into the backbone, and the pooling before the classifier.

    Attributes:
        label: "none", a registered name, or a name with options; options are sorted by name, so one arm has one label.
            The option ``head`` names the squeeze that pools before the classifier, as in "none,head=score".

    Raises:
        ValueError: no such attention, or options that cannot be read.

    Example:
        >>> Arm("saam, scorer=pixel, heads=4").label
        'saam,heads=4,scorer=pixel'
    """

    label: str

    def __post_init__(self) -> None:
        label = self.label.strip()
        name, options = parse_options(label)
        if name != PLAIN:
            parse_attention(name)
        elif options.keys() - {"head"}:
            raise ValueError(f"'none' takes no option but head, as in 'none,head=score'; got {self.label!r}")
        label = ",".join([name, *(f"{option}={value}" for option, value in sorted(options.items()))])
        object.__setattr__(self, "label", label)

    @property
    def name(self) -> str:
        """The attention's name, without options."""
        return self.label.partition(",")[0]

    @property
    def options(self) -> dict[str, Any]:
        """The attention's options."""
        return {option: value for option, value in parse_options(self.label)[1].items() if option != "head"}

    @property
    def head(self) -> str | None:
        """The squeeze before the classifier; None for the backbone's own pooling."""
        head: str | None = parse_options(self.label)[1].get("head")
        return head

    @property
    def attention(self) -> str:
        """The label without the head."""
        return ",".join([self.name, *(f"{option}={value}" for option, value in self.options.items())])

    @property
    def scored(self) -> bool:
        """Whether the arm has a score squeeze, as far as its name and options tell."""
        return self.name.startswith("saam") or "score" in (self.options.get("squeeze"), self.head)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A comparison: arms x seeds, with the model, the data and the recipe that they share.

    Attributes:
        model: name of the backbone, with ``model_options`` for `saam.models.create_model`.
        data: name of the data set, with ``data_options`` for `saam.data.load_data`; a folder gets its whole path.
        recipe: the training.
        arms: labels, as in `Arm`.
        seeds: one run of every arm for each.
        where: the common placement of the attention.
        start: how the attention starts: "identity", so that all arms of a seed start as the same function, or
            "default", as the papers have it.
        reference: the arm that all others are compared with; where none is given "none", or else the first arm.
        focus: the arm that the report is about; where none is given the first score-based one, or else the last arm.

    Raises:
        ValueError: arms or seeds that are empty or given twice, an unknown attention, a reference or focus that is no
            arm of the plan.
        TypeError: seeds that are not integers, or options that JSON cannot hold.
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

    def __post_init__(self) -> None:
        if len(self.seeds) > MOST_SEEDS:
            raise ValueError(f"a comparison takes at most {MOST_SEEDS:,} seeds, got {len(self.seeds):,}")
        for name in ("model", "data", "where"):
            if (text := getattr(self, name)) != printable(text):
                raise ValueError(f"{name} has letters that cannot be printed, {printable(text)!r}: rename it")
        arms, seeds = tuple(Arm(arm) for arm in self.arms), tuple(self.seeds)
        labels = tuple(arm.label for arm in arms)
        if not all(isinstance(seed, int) and not isinstance(seed, bool) for seed in seeds):
            raise TypeError(f"seeds must be integers, got {seeds}")
        for kind, entries in (("arms", labels), ("seeds", seeds)):
            if not entries:
                raise ValueError(f"a comparison needs {kind}, got none")
            if len(set(entries)) < len(entries):
                twice = sorted({str(entry) for entry in entries if entries.count(entry) > 1})
                raise ValueError(f"{kind} must differ from each other, got {', '.join(twice)} more than once")
        if min(seeds) < 0:
            raise ValueError(f"seeds must be 0 or above, got {min(seeds)}")
        if max(seeds) > _LARGEST_SEED:
            raise ValueError(f"seeds must be below 2**63, got {max(seeds)}")
        scored = [arm.label for arm in arms if arm.scored]
        reference = Arm(self.reference).label if self.reference else PLAIN if PLAIN in labels else labels[0]
        focus = Arm(self.focus).label if self.focus else (scored or labels)[0 if scored else -1]
        for kind, label in (("reference", reference), ("focus", focus)):
            if label not in labels:
                raise unknown(f"{kind} arm", label, labels)
        values: dict[str, Any] = {
            "arms": labels,
            "seeds": seeds,
            "reference": reference,
            "focus": focus,
            "data": resolve_name(self.data),
        }
        for name in ("model_options", "data_options"):
            values[name] = _plain(name, getattr(self, name))
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is compared; the first is the primary one, which the headline is about."""
        return ACCURACY, LOSS

    def schedule(self) -> tuple[tuple[str, int], ...]:
        """Return (arm, seed) of every run: all arms of the first seed, then of the next, so that pairs fill up."""
        return tuple((arm, seed) for seed in self.seeds for arm in self.arms)

    def run_id(self, arm: str, seed: int, *, fingerprint: str) -> str:
        """Return the name of a run: a hash of everything that determines its result, and of nothing else.

        The other arms and seeds, the place of the data and the output, and the number of workers do not count; nor do
        placement and start for the plain backbone. Processor and number of threads change the rounding alone; they do
        not count either, and stand in the record's environment.

        Args:
            arm: label of the arm.
            seed: seed of the run.
            fingerprint: hash of the data (`saam.data.Splits.fingerprint`).
        """
        plain = arm == PLAIN
        content = {
            "saam": __version__,
            "torch": str(torch.__version__),
            "model": self.model,
            "model_options": self.model_options,
            "data": self.data,
            "data_options": {key: value for key, value in self.data_options.items() if key != "root"},
            "fingerprint": fingerprint,
            "recipe": self.recipe.to_dict(),
            "arm": arm,
            "where": None if plain else self.where,
            "start": None if plain else self.start,
            "seed": seed,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        plan: dict[str, Any] = json.loads(json.dumps({**values, "recipe": self.recipe.to_dict()}))
        return plan

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the plan that `to_json` wrote.

        Raises:
            ValueError: a field that a plan does not have, one that is missing, or one of another type.
        """
        expected = {entry.name for entry in fields(cls)}
        if values.keys() != expected:
            raise ValueError(f"expected the fields {sorted(expected)} of a plan, got {sorted(values)}")
        for name, value in values.items():
            if not isinstance(value, kind := _KINDS.get(name, str)):
                raise ValueError(f"field {name!r} of a plan must be of type {kind.__name__}, got {value!r}")
        for arm in (*values["arms"], *filter(None, (values["reference"], values["focus"]))):
            check_attention(arm)
        for name in ("model", "data", "where"):
            if len(values[name]) > _LONGEST:
                raise ValueError(f"field {name!r} of a plan has more than {_LONGEST} letters")
        return cls(**{**values, "recipe": Recipe.from_dict(values["recipe"])})


def check_plan(plan: Plan) -> None:
    """Refuse a plan from a file that asks for more than architectures, published weights and data.

    Raises:
        ValueError: the name or an option of the network or of the data is not taken from a file.
    """
    options = dict(plan.model_options)
    if not isinstance(options.pop("pretrained", False), bool):
        raise ValueError(f"the option 'pretrained' of {plan.model} must be true or false")
    check_network(plan.model, None, options)
    kept_options(plan.data, plan.data_options)


def _plain(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of options as JSON holds them, with tuples for lists, so that a saved plan equals the given one."""
    try:
        return {key: _tuples(value) for key, value in json.loads(json.dumps(options)).items()}
    except TypeError as error:
        raise TypeError(f"{name} must hold plain values (numbers, strings, lists), got {options!r}: {error}") from None


def _tuples(value: Any) -> Any:
    return tuple(_tuples(entry) for entry in value) if isinstance(value, list) else value
