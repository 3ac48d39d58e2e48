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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any, Self

import saam
from saam._core.errors import printable, unknown
from saam._core.options import parse_options
from saam.comparison.driver import drive
from saam.comparison.metrics import ACCURACY, LOSS, Metric
from saam.comparison.plan import Plan
from saam.comparison.schedule import MOST_SEEDS
from saam.comparison.store import Comparison, load_comparison
from saam.training import create_recipe

__all__ = ["Study", "list_studies", "load_study", "run_study", "study_results"]


@dataclass(frozen=True, kw_only=True)
class Study:
    """A grid of comparisons that share everything but model and data.

    Attributes:
        models: networks, with options as in "resnet20,width=32".
        data: data sets, with options as in "cifar10,limit=1000".
        arms: of every comparison.
        seeds: number of seeds, from 0 up.
        recipe: training recipe, with changes as in "cifar,epochs=30".
        title: of the report.
        where: placement of the attention.
        start: how it starts.
        reference: the arm that the others are compared with.
        focus: the arm that the report is about.
        metric: the primary one, "accuracy" or "loss".
        spread: expected standard deviation of a paired difference in it.
        delta: differences below this are equivalence.
        until_told: add seeds until the arms of a comparison are told.
        max_seeds: but no more than up to this number.
        notes: what a reader should know.
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

    def cells(self, places: Mapping[str, str] | None = None) -> dict[str, Plan]:
        """Return the plan of each comparison by its name, which is that of its folder: data sets first, then models.

        Args:
            places: name of a data set -> what to load in its place, such as a folder on this machine.

        Raises:
            ValueError: an attention, a recipe or a metric that does not exist, or two cells of one name.
            TypeError: an option that the recipe does not have.
        """
        known = {metric.name: metric for metric in (ACCURACY, LOSS)}
        if self.metric not in known:
            raise unknown("metric", self.metric, known)
        changes = {name: value for name in ("spread", "delta") if (value := getattr(self, name)) is not None}
        primary = replace(known.pop(self.metric), **changes)
        metrics: tuple[Metric, ...] = (primary, *known.values())
        recipe, fields_changed = parse_options(self.recipe)
        plans: dict[str, Plan] = {}
        for data, model in product(self.data, self.models):
            data_name, data_options = parse_options(data)
            model_name, model_options = parse_options(model)
            name = self._folder(data, model)
            if name in plans:
                raise ValueError(f"two comparisons of the study are called {name!r}: give each model and data set once")
            plans[name] = Plan(
                model=model_name,
                model_options=model_options,
                data=(places or {}).get(data_name, data_name),
                data_options=data_options,
                recipe=create_recipe(recipe, **fields_changed),
                arms=self.arms,
                seeds=tuple(range(self.seeds)),
                where=self.where,
                start=self.start,  # type: ignore[arg-type]
                reference=self.reference,
                focus=self.focus,
                metrics=metrics,
            )
        return plans

    def _folder(self, data: str, model: str) -> str:
        """Return a name for a comparison, with options only where they tell it from another one."""
        words = []
        for text, all_texts in ((data, self.data), (model, self.models)):
            name = parse_options(text)[0]
            alone = sum(parse_options(other)[0] == name for other in all_texts) == 1
            words.append(Path(name).name if alone else text)
        return re.sub(r"[^A-Za-z0-9_.=-]+", "-", "-".join(words)).strip("-")

    @classmethod
    def from_toml(cls, text: str, *, name: str = "the study") -> Self:
        """Return the study that a TOML text describes, after a check of all that can be checked without data.

        Args:
            text: the fields of this class.
            name: of the file, for the errors.

        Raises:
            ValueError: the text is no TOML, or a field is missing, unknown, of another type or out of its range; the
                error names the line.
        """
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{name}: {error}") from None
        known = {field.name: field for field in fields(cls)}

        def wrong(key: str, message: str, value: object = None) -> ValueError:
            return ValueError(f"{name}, line {_line(text, key, value)}: {message}")

        for key, value in values.items():
            if key not in known:
                raise wrong(key, str(unknown("field", key, known)))
            if message := _mistake(key, value):
                raise wrong(key, message)
        for field in fields(cls):
            if field.name not in values and field.name in ("models", "data", "arms", "seeds", "recipe"):
                raise ValueError(f"{name}: {field.name} is missing; a study needs models, data, arms, seeds and recipe")
        given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        study = cls(**given)
        try:
            study.cells()
        except (ValueError, TypeError) as error:
            named = next((word for word in re.findall(r"'([^']+)'", str(error)) if f'"{word}' in text), "")
            raise wrong("", f"{error}", named) from error
        return study


def list_studies() -> list[str]:
    """Return the names of the studies that come with the library."""
    return sorted(file.stem for file in _shipped().glob("*.toml"))


def load_study(name: str | Path) -> Study:
    """Return the study in a TOML file, or one that comes with the library by its name.

    Raises:
        ValueError: there is no such study, or the file is damaged; the error names the line.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = _shipped() / f"{name}.toml"
    if not path.is_file():
        raise unknown("study", str(name), [*list_studies(), "FILE.toml"])
    return Study.from_toml(path.read_text(encoding="utf-8"), name=printable(path.name))


def run_study(
    study: Study,
    out: str | Path,
    *,
    places: Mapping[str, str] | None = None,
    on_cell: Callable[[str, Plan], object] | None = None,
    **settings: Any,
) -> dict[str, Comparison]:
    """Run the comparisons of a study, one after the other, each in a folder of its own.

    Args:
        study: the grid.
        out: folder of the results.
        places: as `Study.cells` takes it.
        on_cell: called with name and plan before each comparison.
        settings: of `saam.comparison.driver.drive`.

    Returns:
        The comparisons by name.

    Raises:
        ValueError: as for `saam.compare`.
        OSError: the folder cannot be written.
    """
    out = Path(out)
    if study.until_told:
        settings = {"max_seeds": study.max_seeds, **settings}
    results = {}
    for name, plan in study.cells(places).items():
        if on_cell is not None:
            on_cell(name, plan)
        out.mkdir(parents=True, exist_ok=True)
        results[name] = drive(plan, out / name, **settings)
    return results


def study_results(out: str | Path) -> dict[str, Comparison]:
    """Return the comparisons that the folder of a study holds, as far as they have got.

    Raises:
        FileNotFoundError: it holds none.
        ValueError: a file is damaged; the error names it.
    """
    folders = sorted(file.parent for file in Path(out).glob("*/plan.json"))
    if not folders:
        raise FileNotFoundError(f"{out} holds no study: run saam study first")
    return {folder.name: load_comparison(folder) for folder in folders}


def _shipped() -> Path:
    package = Path(saam.__file__).parent
    inside = package / "studies"  # of an installed package; a checkout has them beside src
    return inside if inside.is_dir() else package.parents[1] / "studies"


def _mistake(key: str, value: Any) -> str:
    """Return what is wrong with a value, or nothing."""
    if key in ("models", "data", "arms"):
        texts = isinstance(value, list) and value and all(isinstance(entry, str) for entry in value)
        return "" if texts else f"{key} must be a list of texts, got {value!r:.80}"
    if key in ("seeds", "max_seeds"):
        whole = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MOST_SEEDS
        return "" if whole else f"{key} must be a whole number, 1 to {MOST_SEEDS:,}, got {value!r:.80}"
    if key in ("spread", "delta"):
        number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
        return "" if number else f"{key} must be a number above 0, got {value!r:.80}"
    if key == "until_told":
        return "" if isinstance(value, bool) else f"{key} must be true or false, got {value!r:.80}"
    return "" if isinstance(value, str) else f"{key} must be a text, got {value!r:.80}"


def _line(text: str, key: str, value: object) -> int:
    """Return the line that sets a key, or where that is not known one that has a value in it."""
    for number, line in _numbered(text):
        if key and re.match(rf"\s*{re.escape(key)}\s*=", line):
            return number
    return next((number for number, line in _numbered(text) if value and f'"{value}' in line), 1)


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    return enumerate(text.splitlines(), 1)
