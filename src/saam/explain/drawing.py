"""What is drawn of an explanation, row by row: maps in units of the mean's weight, and gates by channel."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from saam.explain.gate_use import factor_spreads
from saam.explain.overlay import NEAR_MEAN, ceiling_of, relative_weight, spread

__all__ = ["Drawing", "GateRow", "MapRow", "attribution_rows", "gate_rows", "percent", "score_rows", "selected"]

_SITES = 4  # drawn by default


@dataclass(frozen=True)
class MapRow:
    """One map for each image.

    Attributes:
        name: The site, with the head if it is one of several, or the method.
        kind: "score map", or "for the prediction" if the map depends on the predicted class.
        maps: (B, h, w), each summing to one.
        ceiling: The weight that is drawn brightest, relative to the mean's.
        flat: Whether the weights are nearly equal, so that nothing is drawn.
    """

    name: str
    kind: str
    maps: Tensor
    ceiling: float
    flat: bool


@dataclass(frozen=True)
class GateRow:
    """The factors of one attention.

    Attributes:
        site: Its site.
        factors: (B, C), channels sorted by their mean over the images, the most open one first.
        between_channels: Standard deviation over the channels of their means.
        between_images: Standard deviation of a channel's factor over the images, averaged over the channels.
    """

    site: str
    factors: Tensor
    between_channels: float
    between_images: float


@dataclass(frozen=True, eq=False, repr=False)
class Drawing:
    """All that a picture or a page shows, in words and rows.

    Attributes:
        title: Whose decisions these are; may be empty.
        names: Name of each image.
        images: uint8 (B, 3, H, W).
        predictions: What was predicted for each image, in words.
        wrong: Whether that is known to be wrong.
        likely: The most probable classes of each image, in words.
        maps: Rows of maps.
        gates: Rows of gates.
        notes: What is missing, and why.
    """

    title: str
    names: tuple[str, ...]
    images: Tensor
    predictions: tuple[str, ...]
    wrong: tuple[bool, ...]
    likely: tuple[tuple[str, ...], ...]
    maps: tuple[MapRow, ...]
    gates: tuple[GateRow, ...]
    notes: tuple[str, ...]


def score_rows(scores: Mapping[str, Tensor], *, heads: bool = False) -> Iterator[MapRow]:
    """Yield the rows of score maps.

    Args:
        scores: Site -> (B, G, h, w).
        heads: Yield each head as a row, not their mean.
    """
    for site, maps in scores.items():
        if heads and maps.shape[1] > 1:
            for number, part in enumerate(maps.unbind(1), 1):
                yield _row(f"{site}, head {number}", "score map", part)
        else:
            yield _row(site, "score map", maps.mean(1))


def attribution_rows(attributions: Mapping[str, Tensor]) -> Iterator[MapRow]:
    """Yield the rows of the maps (B, 1, h, w) of other methods."""
    for name, maps in attributions.items():
        yield _row(name, "for the prediction", maps[:, 0])


def gate_rows(gates: Mapping[str, Tensor]) -> Iterator[GateRow]:
    """Yield the rows of the gates (B, C) of sites."""
    for site, values in gates.items():
        factors = values.float()
        order = factors.mean(0).argsort(descending=True)
        yield GateRow(site, factors[:, order], *factor_spreads(factors))


def selected(having: Mapping[str, Tensor], sites: Sequence[str]) -> dict[str, Tensor]:
    """Return what there is of these sites, in the order of the network; without sites, up to four evenly spaced."""
    chosen = [site for site in having if site in sites] if sites else spread(list(having), _SITES)
    return {site: having[site] for site in chosen}


def percent(p: float) -> str:
    """Return a probability in words: whole per cent, with a decimal below ten."""
    return f"{100 * p:.0f} %" if p >= 0.1 else f"{100 * p:.1f} %"


def _row(name: str, kind: str, maps: Tensor) -> MapRow:
    weights = relative_weight(maps)
    flat = bool(weights.max() < NEAR_MEAN)
    return MapRow(name, kind, maps, 1.0 if flat else ceiling_of(weights), flat)
