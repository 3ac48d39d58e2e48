"""An explanation as one picture: images in columns, and below them a row for each map and for each gate.

The colours of maps and their bars are in units of the mean's weight, see :mod:`saam.explain.overlay`.
"""

import io
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from saam.explain.drawing import Drawing, GateRow, MapRow
from saam.explain.overlay import overlay

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["GENERATOR", "draw", "gate_picture", "map_picture", "require_matplotlib"]

GENERATOR = "saam explain"
"""What the files say that they were written by."""

_CELL = 1.15  # inches
_GATES = 0.6  # height of a row of gates, in cells
_WHOLE: dict[str, Any] = {"left": 0, "right": 1, "bottom": 0, "top": 1}
_DPI = 200
_TEXT: dict[str, Any] = {"fontsize": 8, "color": "#222222", "parse_math": False}
_OPACITY = 0.6
_FINEST = 96  # pixels: smaller images are enlarged before a map is drawn over them


def draw(drawing: Drawing) -> bytes:
    """Return the picture as PNG, at 200 dots per inch.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    maps, gates, count = drawing.maps, drawing.gates, len(drawing.names)
    heights = [1.0] * (1 + len(maps)) + [_GATES] * len(gates)
    figure = _figure((_CELL * (count + 0.3), _CELL * sum(heights)))
    grid = figure.add_gridspec(
        len(heights),
        count + 1,
        width_ratios=[*[1] * count, 0.07],
        height_ratios=heights,
        wspace=0.06,
        hspace=0.09,
        **_WHOLE,
    )
    titles = zip(drawing.images, drawing.names, drawing.predictions, drawing.wrong, strict=True)
    for column, (image, name, text, wrong) in enumerate(titles):
        axes = _picture(figure.add_subplot(grid[0, column]), image)
        axes.set_title(
            f"{_wrapped(name)}\n{_wrapped(text)}", **{**_TEXT, "color": "#b3261e" if wrong else _TEXT["color"]}
        )
        if column == 0:
            _label(axes, "image and prediction")
    for place, row in enumerate(maps, 1):
        for column, image in enumerate(drawing.images):
            axes = _picture(figure.add_subplot(grid[place, column]), map_picture(image, row, column))
            if column == 0:
                _label(axes, f"{row.name}\n{'nearly the mean' if row.flat else row.kind}")
        if not row.flat:
            _bar(figure, figure.add_subplot(grid[place, count]), row.ceiling)
    for place, gate in enumerate(gates, 1 + len(maps)):
        axes = figure.add_subplot(grid[place, :count])
        _gates(figure, axes, figure.add_subplot(grid[place, count]), gate)
        _label(axes, _of_gate(gate))
    lines = [*filter(None, [drawing.title]), *drawing.notes]
    if lines:
        text = fill(" — ".join(lines), max(40, 14 * (count + 1)))
        figure.text(0, -0.12 / sum(heights), text, va="top", **_TEXT)
    return _png(figure)


def gate_picture(gate: GateRow, names: Sequence[str]) -> bytes:
    """Return a heat map of one attention's gates as PNG: channels from left to right, images from top to bottom.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    figure = _figure((6.4, 0.5 + 0.2 * len(names)))
    grid = figure.add_gridspec(1, 2, width_ratios=[1, 0.02], wspace=0.03, **_WHOLE)
    axes = figure.add_subplot(grid[0, 0])
    shown = axes.imshow(gate.factors.numpy(), aspect="auto", interpolation="nearest", **_scale(gate))
    axes.set_yticks(range(len(names)), [_short(name) for name in names], **_TEXT)
    axes.set_xlabel(f"{gate.factors.shape[1]} channels, the most open one first", **_TEXT)
    axes.set_xticks([])
    _plain(figure.colorbar(shown, cax=figure.add_subplot(grid[0, 1])).ax)
    return _png(figure)


def map_picture(image: Tensor, row: MapRow, index: int) -> Tensor:
    """Return the image (3, H, W) in grey with its map of a row over it, uint8 (3, h, w)."""
    times = -(-_FINEST // min(image.shape[1:]))
    if times > 1:
        image = F.interpolate(image[None].float(), scale_factor=times, mode="nearest")[0].to(torch.uint8)
    return overlay(image, row.maps[index], ceiling=row.ceiling, opacity=0.0 if row.flat else _OPACITY)


def require_matplotlib() -> Any:
    """Return matplotlib.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    try:
        import matplotlib.figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the picture needs matplotlib: pip install 'saam[explain]'") from error
    return matplotlib


def _figure(size: tuple[float, float]) -> "Figure":
    made: Figure = require_matplotlib().figure.Figure(figsize=size, dpi=_DPI, facecolor="white")
    return made


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.08, metadata={"Software": GENERATOR})
    return buffer.getvalue()


def _picture(axes: "Axes", pixels: Tensor) -> "Axes":
    axes.imshow(pixels.permute(1, 2, 0).numpy(), interpolation="nearest" if pixels.shape[2] < 128 else "antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _label(axes: "Axes", text: str) -> None:
    lines = "\n".join(fill(line, 26) for line in text.split("\n"))
    axes.set_ylabel(lines, rotation=0, ha="right", va="center", labelpad=6, **_TEXT)


def _bar(figure: "Figure", axes: "Axes", ceiling: float) -> None:
    colours = require_matplotlib().cm.ScalarMappable(
        norm=require_matplotlib().colors.Normalize(0, ceiling), cmap="inferno"
    )
    axes.set_facecolor("0.5")
    bar = figure.colorbar(colours, cax=axes, alpha=_OPACITY, label="times the mean", ticks=[1, ceiling])
    bar.ax.set_yticklabels(["1", f"{ceiling:.1f}"])
    _plain(bar.ax)


def _gates(figure: "Figure", axes: "Axes", bar: "Axes", gate: GateRow) -> None:
    shown = axes.imshow(gate.factors.T.numpy(), aspect="auto", interpolation="nearest", **_scale(gate))
    for edge in range(1, len(gate.factors)):
        axes.axvline(edge - 0.5, color="white", linewidth=3)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    _plain(figure.colorbar(shown, cax=bar, label="factor").ax)


def _of_gate(gate: GateRow) -> str:
    return (
        f"{gate.site}\ngates of {gate.factors.shape[1]} channels\n"
        f"sd over channels {gate.between_channels:.2f}, over images {gate.between_images:.2f}"
    )


def _scale(gate: GateRow) -> dict[str, Any]:
    """Return a scale from 0, or the smallest factor, to the identity, or the largest factor."""
    return {"cmap": "viridis", "vmin": min(0.0, float(gate.factors.min())), "vmax": max(1.0, float(gate.factors.max()))}


def _plain(axes: "Axes") -> None:
    axes.tick_params(labelsize=7, length=2, colors="#222222")
    axes.yaxis.label.set_fontsize(7)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _wrapped(text: str) -> str:
    return fill(_short(text), 17, break_on_hyphens=False)


def _short(text: str, most: int = 48) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}…{text[1 - most // 2 :]}"
