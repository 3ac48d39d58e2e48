"""``saam list``: the available attentions, squeezes, data sets, models and recipes."""

import inspect
import re
from collections.abc import Callable, Iterable
from textwrap import fill
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from saam.cli.screen import AsJson, print_json, screen

__all__ = ["command"]

Kind = Literal["attentions", "squeezes", "data", "models", "recipes"]


def command(kind: Kind = "attentions", /, *, as_json: AsJson = False) -> None:
    """List the available attentions, squeezes, data sets, models or recipes.

    Parameters
    ----------
    kind
        What to list.
    as_json
        Print only one JSON document on standard output.
    """
    if as_json:
        print_json(_DOCUMENTS[kind]())
    else:
        _LISTS[kind](screen())


def _attentions(console: Console) -> None:
    from saam.nn import attention_record, list_attentions

    def line(name: str, parameters: str, squeeze: str, paper: str) -> None:
        console.print(f"{name:<13}{parameters:>13}  {squeeze:<8}  {paper}", soft_wrap=True)

    line("name", "params (C=64)", "squeeze=", "paper")
    for record in map(attention_record, list_attentions()):
        takes_squeeze = "squeeze" in inspect.signature(record.build).parameters
        paper = f"arXiv:{record.arxiv}" if record.arxiv else ""
        parameters = record.parameters(64, **record.options_at(size=8))
        line(record.name, f"{parameters:,}", "yes" if takes_squeeze else "", paper)
        details = [record.description, f"placement: {record.placement}", *([] if paper else [f"paper: {record.paper}"])]
        for detail in details:
            console.print(fill(detail, console.width, initial_indent=4 * " ", subsequent_indent=6 * " "))
    for note in (
        'squeeze=: whether it accepts other squeezes (saam list squeezes), as in "eca,squeeze=score".',
        "params: with 64 channels; ge and ge-plus for maps of 8x8, eca:3557 and similar for the first stage.",
        "placement: that of the paper; residual is after the last norm of a residual branch, before the addition. This "
        "is also saam's default for every attention; --where changes it.",
        "timm:NAME: an attention of timm, as in timm:gca.",
    ):
        console.print(note)


def _attention_documents() -> list[dict[str, Any]]:
    from saam.nn import attention_record, list_attentions

    return [
        {
            "name": record.name,
            "description": record.description,
            "placement": record.placement,
            "paper": record.paper,
            "arxiv": record.arxiv or None,
            "squeeze": "squeeze" in inspect.signature(record.build).parameters,
            "parameters": record.parameters(64, **record.options_at(size=8)),
        }
        for record in map(attention_record, list_attentions())
    ]


def _squeezes(console: Console) -> None:
    _print_pairs(console, _squeeze_lines().items())


def _squeeze_lines() -> dict[str, str]:
    from saam.nn import create_squeeze, list_squeezes

    def line(name: str) -> str:
        text = inspect.getdoc(type(create_squeeze(name, 64, size=8))) or ""
        return re.split(r":? \(B, C, H, W\)|, see |\.?\n", text)[0].rstrip(".")

    return {name: line(name) for name in list_squeezes()}


def _data(console: Console) -> None:
    from saam.data import data_options, data_record, list_data
    from saam.data.catalog import spelled

    def options(name: str) -> str:
        try:
            return f"options: {spelled(data_options(name))}"
        except ModuleNotFoundError as error:
            return str(error)

    _print_pairs(console, [(name, f"{data_record(name).description}\n{options(name)}") for name in list_data()])
    for note in (
        "options follow the name, as in cifar10,limit=1000; they are shown with their defaults, if any.",
        "validation, test: share or number of training images to draw for it; limit: most images per split.",
    ):
        console.print(fill(note, console.width))


def _data_documents() -> list[dict[str, Any]]:
    from saam.data import data_options, data_record, list_data

    def options(name: str) -> dict[str, Any] | None:
        try:
            return {option: value if _is_plain(value) else None for option, value in data_options(name).items()}
        except ModuleNotFoundError:
            return None

    return [
        {"name": name, "description": data_record(name).description, "options": options(name)} for name in list_data()
    ]


def _is_plain(value: Any) -> bool:
    entries = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(entry, str | int | float | bool | None) for entry in entries)


def _models(console: Console) -> None:
    from saam.models import list_models

    console.print(f"for small images, about 32x32: {', '.join(list_models())}")
    console.print("the same with other numbers, as in resnet26 (6n+2) or wrn22_4; most take stem_stride=2")
    console.print(
        "timm:NAME, torchvision:NAME: their networks, most for 224x224, with published weights (--pretrained)"
    )


def _recipes(console: Console) -> None:
    from saam.training import recipes

    _print_pairs(console, recipes().items())


def _print_pairs(console: Console, pairs: Iterable[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, text in pairs:
        table.add_row(name, text)
    console.print(table)


def _named(pairs: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "description": text} for name, text in pairs]


def _model_documents() -> list[dict[str, str]]:
    from saam.models import list_models

    return [{"name": name} for name in list_models()]


def _recipe_documents() -> list[dict[str, str]]:
    from saam.training import recipes

    return _named(recipes().items())


_DOCUMENTS: dict[Kind, Callable[[], Any]] = {
    "attentions": _attention_documents,
    "squeezes": lambda: _named(_squeeze_lines().items()),
    "data": _data_documents,
    "models": _model_documents,
    "recipes": _recipe_documents,
}
_LISTS: dict[Kind, Callable[[Console], None]] = {
    "attentions": _attentions,
    "squeezes": _squeezes,
    "data": _data,
    "models": _models,
    "recipes": _recipes,
}
