"""How much the arms use their scores. Old records may not have this."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from saam.comparison.records import RunRecord

__all__ = ["SiteUse", "delivered_shares", "sites_of", "use_by_epoch"]


@dataclass(frozen=True)
class SiteUse:
    """The use of one site's scores after one epoch, mean over seeds; see `saam.explain.ScoreUse`."""

    site: str
    epoch: int
    share: float
    lift: float | None


def use_by_epoch(records: Sequence[RunRecord]) -> list[SiteUse]:
    """Average over the runs of one arm how much the scores of every site are used, for each epoch.

    Returns:
        One entry for each site and epoch with a known share, by site in the order of the network, then by epoch.
    """
    found: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for epoch in (epoch for record in records for epoch in record.curve):
        for site, use in sites_of(epoch).items():
            found.setdefault(site, {}).setdefault(epoch["epoch"], []).append(use)
    return [
        SiteUse(site, epoch, fmean(_known(uses, "share")), _mean(_known(uses, "lift")))
        for site, epochs in found.items()
        for epoch, uses in sorted(epochs.items())
    ]


def delivered_shares(records: Sequence[RunRecord]) -> dict[str, float]:
    """Average over the runs of one arm the share of pixels that each site uses with the weights of the last epoch.

    These are the weights that were tested and saved, so earlier epochs do not matter.
    """
    found: dict[str, list[float]] = {}
    for record in records:
        for site, use in sites_of(record.curve[-1] if record.curve else {}).items():
            found.setdefault(site, []).append(use["share"])
    return {site: fmean(shares) for site, shares in found.items()}


def sites_of(epoch: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the use of each site in an epoch's record, for the sites with a known share."""
    sites = _mapping(_mapping(epoch.get("observed")).get("score_use"))
    return {site: use for site, use in sites.items() if _known([_mapping(use)], "share")}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _known(uses: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    values = (use.get(name) for use in uses)
    return [value for value in values if isinstance(value, int | float) and math.isfinite(value)]


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
