"""How much the arms use their scores and their gates. Old records may not have this."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from saam.comparison.records import RunRecord

__all__ = ["GATES", "SCORES", "Kind", "SiteUse", "delivered", "sites_of", "use_by_epoch"]


@dataclass(frozen=True)
class Kind:
    """One kind of use that an epoch's record holds for each site.

    Attributes:
        key: Its name in the record.
        main: The value that tells how large the use is.
        others: Further values.
    """

    key: str
    main: str
    others: tuple[str, ...]


SCORES = Kind("score_use", "share", ("lift",))
"""See `saam.explain.ScoreUse`."""
GATES = Kind("gate_use", "change", ("factor", "channels", "images"))
"""See `saam.explain.GateUse`."""


@dataclass(frozen=True)
class SiteUse:
    """The use of one site after one epoch, mean over seeds."""

    site: str
    epoch: int
    values: Mapping[str, float | None]
    """The values of its kind by name; None where no record has one."""


def use_by_epoch(records: Sequence[RunRecord], kind: Kind) -> list[SiteUse]:
    """Average the use of every site over the runs of one arm, for each epoch.

    Returns:
        One entry for each site and epoch with a known main value, by site in the order of the network, then by epoch.
    """
    found: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for epoch in (epoch for record in records for epoch in record.curve):
        for site, use in sites_of(epoch, kind).items():
            found.setdefault(site, {}).setdefault(epoch["epoch"], []).append(use)
    return [
        SiteUse(site, epoch, {name: _mean(_known(uses, name)) for name in (kind.main, *kind.others)})
        for site, epochs in found.items()
        for epoch, uses in sorted(epochs.items())
    ]


def delivered(records: Sequence[RunRecord], kind: Kind, name: str = "") -> dict[str, float]:
    """Average over the runs of one arm a value of each site with the weights of the last epoch.

    These are the weights that were tested and saved, so earlier epochs do not matter.

    Args:
        records: The runs.
        kind: Kind of the use.
        name: One of its values; empty means the main one.
    """
    found: dict[str, list[float]] = {}
    for record in records:
        for site, use in sites_of(record.curve[-1] if record.curve else {}, kind).items():
            found.setdefault(site, []).extend(_known([use], name or kind.main))
    return {site: fmean(values) for site, values in found.items() if values}


def sites_of(epoch: Mapping[str, Any], kind: Kind) -> dict[str, Mapping[str, Any]]:
    """Return the use of each site in an epoch's record, for the sites with a known main value."""
    sites = _mapping(_mapping(epoch.get("observed")).get(kind.key))
    return {site: use for site, use in sites.items() if _known([_mapping(use)], kind.main)}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _known(uses: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    values = (use.get(name) for use in uses)
    return [value for value in values if isinstance(value, int | float) and math.isfinite(value)]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
