"""An explanation as a page that needs no server, no network and no other file."""

import base64
import functools
from typing import TYPE_CHECKING

from saam._version import __version__
from saam.explain.drawing import Drawing
from saam.explain.figure import GENERATOR, gate_picture, map_picture
from saam.explain.overlay import as_png

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["environment", "fragment", "page"]


def page(drawing: Drawing) -> str:
    """Return the page; a content security policy keeps it from loading anything.

    Raises:
        ModuleNotFoundError: If jinja2 or matplotlib is not installed.
    """
    return _render("explanation.html.j2", drawing)


def fragment(drawing: Drawing) -> str:
    """Return the part of the page that a notebook shows.

    Raises:
        ModuleNotFoundError: If jinja2 or matplotlib is not installed.
    """
    return _render("explanation_body.html.j2", drawing)


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


def _render(template: str, drawing: Drawing) -> str:
    images = [
        {
            "name": drawing.names[index],
            "said": drawing.predictions[index],
            "wrong": drawing.wrong[index],
            "others": drawing.likely[index],
            "picture": _inline(as_png(image)),
            "maps": [{"row": row, "picture": _inline(as_png(map_picture(image, row, index)))} for row in drawing.maps],
        }
        for index, image in enumerate(drawing.images)
    ]
    gates = [{"row": row, "picture": _inline(gate_picture(row, drawing.names))} for row in drawing.gates]
    return (
        environment()
        .get_template(template)
        .render(drawing=drawing, gates=gates, generator=GENERATOR, images=images, version=__version__)
    )


def _inline(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
