"""Studies: one comparison for each pair of a model and a data set, from one TOML file.

title = "Channel attention on CIFAR"
models = ["resnet20", "preresnet56"]
data = ["cifar100", "cifar10"]
arms = ["none", "wider", "se", "saam"]
seeds = 8
recipe = "cifar-short,epochs=10"
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Self, get_args

from saam._core.errors import hinted, printable, unknown
from saam._core.options import parse_options
from saam.comparison.arm import Arm
from saam.comparison.metrics import ACCURACY, LOSS, Metric
from saam.comparison.plan import Plan
from saam.comparison.schedule import MOST_SEEDS
from saam.surgery.attach import Start
from saam.training import create_recipe

__all__ = ["Study", "StudyError", "list_studies", "load_study"]

_PACKAGE = Path(__file__).parents[1]
_METRICS = {metric.name: metric for metric in (ACCURACY, LOSS)}


class StudyError(ValueError):
    """What is wrong with a field of a study, or with one entry of its list.

    Attributes:
        field: Name of the field.
        entry: Place of the entry in the list, from 0; None for the field itself.
    """

    def __init__(self, message: str, field: str, entry: int | None = None) -> None:
        super().__init__(message)
        self.field, self.entry = field, entry


@dataclass(frozen=True, kw_only=True)
class Study:
    """A grid of comparisons that share everything but model and data.

    Attributes:
        models: Networks, with options as in "resnet20,width=32".
        data: Data sets, with options as in "cifar10,limit=1000".
        arms: Of every comparison.
        seeds: Number of seeds, from 0 up.
        recipe: Training recipe, with changes as in "cifar,epochs=30".
        title: Of the report.
        where: Placement of the attention.
        start: How it starts.
        reference: The arm that the others are compared with.
        focus: The arm that the report is about.
        metric: The primary one, "accuracy" or "loss".
        spread: Expected standard deviation of a paired difference in it.
        delta: Differences below this are equivalence.
        until_told: Add seeds until the arms of a comparison are told.
        max_seeds: But no more than up to this number.
        notes: What a reader should know.

    Raises:
        ValueError: A field of another type or out of its range, or an attention, a recipe or a metric that does not
            exist.
    """

    models: tuple[str, ...]
    data: tuple[str, ...]
    arms: tuple[str, ...]
    seeds: int
    recipe: str
    title: str = ""
    where: str = "residual"
    start: str = "identity"
    reference: str = ""
    focus: str = ""
    metric: str = "accuracy"
    spread: float | None = None
    delta: float | None = None
    until_told: bool = False
    max_seeds: int = 40
    notes: str = ""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None or field.default is MISSING:
                _check_type(field.name, value)
            if isinstance(value, list):
                object.__setattr__(self, field.name, tuple(value))
        _check_values(self)

    def cells(self, places: Mapping[str, str] | None = None) -> dict[str, Plan]:
        """Return the plan of each comparison by its name, which is that of its folder: data sets first, then models.

        Args:
            places: Name of a data set -> what to load in its place, such as a folder on this machine.

        Raises:
            ValueError: Two cells of one name.
        """
        changes = {name: value for name in ("spread", "delta") if (value := getattr(self, name)) is not None}
        others = [metric for name, metric in _METRICS.items() if name != self.metric]
        metrics: tuple[Metric, ...] = (replace(_METRICS[self.metric], **changes), *others)
        data_words, model_words = _words(self.data), _words(self.models)
        plans: dict[str, Plan] = {}
        for data, model in product(self.data, self.models):
            name = f"{data_words[data]}-{model_words[model]}"
            if name in plans:
                raise ValueError(f"two comparisons of the study would be kept in a folder {name!r}: rename a data set")
            plan = Plan.of_texts(
                model,
                data,
                self.recipe,
                arms=self.arms,
                seeds=tuple(range(self.seeds)),
                where=self.where,
                start=self.start,
                reference=self.reference,
                focus=self.focus,
                metrics=metrics,
            )
            place = (places or {}).get(parse_options(data)[0])
            plans[name] = plan if place is None else replace(plan, data=place)
        return plans

    @classmethod
    def from_toml(cls, text: str, *, name: str = "the study") -> Self:
        """Return the study that a TOML text describes.

        Args:
            text: The fields of this class.
            name: Of the file, for the errors.

        Raises:
            ValueError: The text is no TOML, or a field is missing, unknown, of another type or out of its range; the
                error names the line.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            where = "" if "line" in str(error) else f", line {max(1, len(text.splitlines()))}"
            raise ValueError(f"{name}{where}: {error}") from None
        known = {field.name: field.default is MISSING for field in fields(cls)}
        try:
            for key in values:
                if key not in known:
                    raise StudyError(str(unknown("field", key, known)), key)
            if missing := [key for key, required in known.items() if required and key not in values]:
                needed = ", ".join(key for key, required in known.items() if required)
                raise ValueError(f"{name}: {missing[0]} is missing; a study needs {needed}")
            for key, value in values.items():
                _check_type(key, value)
            study = cls(**values)
        except StudyError as error:
            raise ValueError(f"{name}, line {_line(text, error.field, error.entry)}: {error}") from None
        try:
            study.cells()
        except ValueError as error:
            raise ValueError(f"{name}, line {_line(text, 'data', None)}: {error}") from None
        return study


def list_studies() -> list[str]:
    """Return the names of the studies that come with the library."""
    return sorted(file.stem for file in _shipped().glob("*.toml"))


def load_study(name: str | Path) -> Study:
    """Return the study in a TOML file, or one that comes with the library by its name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: There is no such study, or the file is damaged; the error names the line.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if str(name) not in list_studies():
            raise unknown("study", str(name), [*list_studies(), "FILE.toml"])
        path = _shipped() / f"{name}.toml"
    elif not path.is_file():
        known = list_studies()
        raise FileNotFoundError(hinted(f"there is no file {path}", path.stem, known, f"saam has {', '.join(known)}"))
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error.reason} at byte {error.start})") from None
    return Study.from_toml(text, name=printable(path.name))


def _words(texts: Sequence[str]) -> dict[str, str]:
    """Return a word for a folder's name for each text: as little of it as tells it from the others."""
    spelled = ([Path(parse_options(text)[0]).name, parse_options(text)[0], text] for text in texts)
    columns = list(zip(*([_tame(way) for way in ways] for ways in spelled), strict=True))
    return {
        text: next((column[place] for column in columns if column.count(column[place]) == 1), columns[-1][place])
        for place, text in enumerate(texts)
    }


def _tame(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.=-]+", "-", text).strip("-.") or "data"


def _shipped() -> Path:
    inside = _PACKAGE / "studies"  # of an installed package; a checkout has them beside src
    return inside if inside.is_dir() else _PACKAGE.parents[1] / "studies"


def _check_type(field: str, value: Any) -> None:
    """Raise unless a field has its type and range.

    Raises:
        ValueError: It has not.
    """

    def must(be: str, *, entry: int | None = None) -> StudyError:
        got = value if entry is None else value[entry]
        return StudyError(f"{field} must be {be}, got {got!r:.80}", field, entry)

    if field in ("models", "data", "arms"):
        if not isinstance(value, list | tuple) or not value:
            raise must("a list of one text or more")
        for place, entry in enumerate(value):
            if not isinstance(entry, str) or not entry.strip():
                raise must("a list of texts", entry=place)
            if entry in value[:place]:
                raise StudyError(f"{field} has {entry!r} twice: give each once", field, place)
    elif field in ("seeds", "max_seeds"):
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= MOST_SEEDS:
            raise must(f"a whole number, 1 to {MOST_SEEDS:,}")
    elif field in ("spread", "delta"):
        if not isinstance(value, int | float) or isinstance(value, bool) or not 1e-9 <= value <= 1e9:
            raise must("a number above 0, up to 1e9")
    elif field == "until_told":
        if not isinstance(value, bool):
            raise must("true or false")
    elif not isinstance(value, str):
        raise must("a text")


def _check_values(study: Study) -> None:
    """Raise unless names and options are known, as far as that can be told without data and networks.

    Raises:
        ValueError: They are not; the first mistake counts.
    """
    entries: dict[str, tuple[str, ...]] = {name: getattr(study, name) for name in ("models", "data", "arms")}
    labels: list[str] = []
    for field, texts in entries.items():
        for place, text in enumerate(texts):
            try:
                name = Arm(text).label if field == "arms" else parse_options(text)[0]
            except (TypeError, ValueError) as error:
                raise StudyError(str(error), field, place) from None
            if not name:
                raise StudyError(f"expected a name before the options, got {text!r:.80}", field, place)
            if field == "arms" and name in labels:
                raise StudyError(f"arms has {name!r} twice: give each once", field, place)
            labels += [name] if field == "arms" else []
    try:
        recipe, changes = parse_options(study.recipe)
        create_recipe(recipe, **changes)
    except (TypeError, ValueError) as error:
        raise StudyError(str(error), "recipe") from None
    known = {"metric": list(_METRICS), "start": list(get_args(Start))}
    for field, names in known.items():
        if getattr(study, field) not in names:
            raise StudyError(str(unknown(field, getattr(study, field), names)), field)
    for field in ("reference", "focus"):
        label = getattr(study, field)
        own = any(Arm(text).own for text in study.arms)  # which may go by a shorter name
        if label and not own and label not in labels and label.replace(" ", "") not in labels:
            raise StudyError(str(unknown(f"{field} arm", label, labels)), field)
    if study.until_told and study.max_seeds < study.seeds:
        raise StudyError(f"max_seeds must be at least the {study.seeds} seeds, got {study.max_seeds}", "max_seeds")


def _line(text: str, key: str, entry: int | None) -> int:
    """Return the line of a TOML text that sets a key, or on which an entry of its list ends."""
    lines = text.splitlines()
    setting = re.compile(rf"\s*\[*\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]")
    first = next((number for number, line in enumerate(lines, 1) if setting.match(line)), 1)
    for number in range(first, len(lines) + 1) if entry is not None else ():
        for end in ("", "]"):
            try:
                value = tomllib.loads("\n".join(lines[first - 1 : number]) + end)[key]
            except (tomllib.TOMLDecodeError, KeyError):
                continue
            if entry is not None and len(value) > entry:
                return number
    return first
