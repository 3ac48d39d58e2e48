"""What is drawn of an explanation, row by row: maps in units of the mean's weight, and gates by channel."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from saam._core.errors import hinted
from saam.explain.explanation import Explanation
from saam.explain.gate_use import factor_spreads
from saam.explain.overlay import NEAR_MEAN, ceiling_of, relative_weight, spread

__all__ = ["GateRow", "MapRow", "gate_rows", "map_rows", "percent", "said"]

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


def map_rows(explanation: Explanation, *, sites: Sequence[str] = (), heads: bool = False) -> list[MapRow]:
    """Return the rows of maps: the sites in the order of the network, then the other methods.

    Args:
        explanation: Whose maps.
        sites: Sites to show. By default up to four, evenly spaced from first to last.
        heads: Return each head as a row, not their mean.

    Raises:
        ValueError: If a site is unknown.
    """
    rows = []
    for site in _chosen(explanation, explanation.scores, sites):
        maps = explanation.scores[site]
        split = heads and maps.shape[1] > 1
        parts = maps.unbind(1) if split else (maps.mean(1),)
        rows += [
            _row(f"{site}, head {number}" if split else site, "score map", part) for number, part in enumerate(parts, 1)
        ]
    return rows + [_row(name, "for the prediction", maps[:, 0]) for name, maps in explanation.attributions.items()]


def gate_rows(explanation: Explanation, *, sites: Sequence[str] = ()) -> list[GateRow]:
    """Return the gates of the sites, see :func:`map_rows`.

    Raises:
        ValueError: If a site is unknown.
    """
    rows = []
    for site in _chosen(explanation, explanation.gates, sites):
        factors = explanation.gates[site].float()
        order = factors.mean(0).argsort(descending=True)
        rows.append(GateRow(site, factors[:, order], *factor_spreads(factors)))
    return rows


def said(explanation: Explanation) -> list[tuple[str, str, bool]]:
    """Return for each image its name, what was predicted in words, and whether that is known to be wrong."""
    lines = []
    for name, truth, (guess, p) in zip(explanation.names, explanation.truths, explanation.predictions, strict=True):
        wrong = truth is not None and truth != guess
        lines.append((name, f"{guess}, {percent(p)}" + (f" (true: {truth})" if wrong else ""), wrong))
    return lines


def percent(p: float) -> str:
    """Return a probability in words: whole per cent, with a decimal below ten."""
    return f"{100 * p:.0f} %" if p >= 0.1 else f"{100 * p:.1f} %"


def _row(name: str, kind: str, maps: Tensor) -> MapRow:
    weights = relative_weight(maps)
    flat = bool(weights.max() < NEAR_MEAN)
    return MapRow(name, kind, maps, 1.0 if flat else ceiling_of(weights), flat)


def _chosen(explanation: Explanation, having: dict[str, Tensor], sites: Sequence[str]) -> list[str]:
    known = list(explanation.scores | explanation.gates)
    for site in sites:
        if site not in known:
            raise ValueError(hinted(f"unknown site {site!r}", site, known))
    return [site for site in having if site in sites] if sites else spread(list(having), _SITES)
