"""An explanation as a page that needs no server, no network and no other file."""

import base64
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from saam._version import __version__
from saam.explain.explanation import Explanation
from saam.explain.figure import GENERATOR, gate_picture, map_picture
from saam.explain.overlay import as_png
from saam.explain.rows import gate_rows, map_rows, percent, said

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["environment", "fragment", "page"]

_CLASSES = 3  # the most probable ones are listed


def page(explanation: Explanation, *, sites: Sequence[str] = (), heads: bool = False) -> str:
    """Return the page; a content security policy keeps it from loading anything.

    Args:
        explanation: What is shown.
        sites: Sites whose maps and gates are shown. By default up to four, evenly spaced from first to last.
        heads: Show each head of a site, not their mean.

    Raises:
        ModuleNotFoundError: If jinja2 or matplotlib is not installed.
        ValueError: If a site is unknown.
    """
    return _render("explanation.html.j2", explanation, sites, heads)


def fragment(explanation: Explanation) -> str:
    """Return the part of the page that a notebook shows.

    Raises:
        ModuleNotFoundError: If jinja2 or matplotlib is not installed.
    """
    return _render("explanation_body.html.j2", explanation, (), False)


@functools.cache
def environment() -> "Environment":
    """Return the environment that renders the pages of this folder.

    Raises:
        ModuleNotFoundError: If jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the page needs jinja2: pip install 'saam[explain]'") from error
    return Environment(
        loader=PackageLoader("saam.explain"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(template: str, explanation: Explanation, sites: Sequence[str], heads: bool) -> str:
    rows = map_rows(explanation, sites=sites, heads=heads)
    lines = said(explanation)
    images = [
        {
            "name": name,
            "said": text,
            "wrong": wrong,
            "others": _likely(explanation, index),
            "picture": _inline(as_png(explanation.images[index])),
            "maps": [
                {"row": row, "picture": _inline(as_png(map_picture(explanation.images[index], row, index)))}
                for row in rows
            ],
        }
        for index, (name, text, wrong) in enumerate(lines)
    ]
    gates = [
        {"row": row, "picture": _inline(gate_picture(row, explanation.names))}
        for row in gate_rows(explanation, sites=sites)
    ]
    return (
        environment()
        .get_template(template)
        .render(explanation=explanation, gates=gates, generator=GENERATOR, images=images, version=__version__)
    )


def _likely(explanation: Explanation, index: int) -> list[str]:
    row = explanation.probabilities[index]
    best = row.topk(min(_CLASSES, len(row)))
    return [
        f"{explanation.classes[place]}: {percent(p)}"
        for place, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
