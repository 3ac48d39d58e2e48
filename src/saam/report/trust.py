"""Intervals of the measures of `saam.explain.trust`, over networks and images, and what may be said of each map."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from saam.comparison import open_seeds
from saam.comparison.crossed import crossed_interval
from saam.data import first_test_images
from saam.explain.compared import FLOORS
from saam.explain.trust import MEASURES, Trust, trust

__all__ = ["Interval", "TrustRow", "measure_run", "trust_document", "trust_rows", "trust_text"]

_SEEDS_PAIRED = "between seeds"


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; the ends are NaN where there is one value only."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class TrustRow:
    """One measure of one kind of map.

    Attributes:
        measure: Name of the measure, see `saam.explain.trust.MEASURES`.
        method: Name of the map.
        value: Its value.
        over: Floor -> its value minus that of the floor, paired by network and image; empty where floors have none.
        verdict: "better" than both floors, "worse" than one or both, or "open"; empty without floors. The intervals of
            ``over`` decide, each at its own level of 95 %.
    """

    measure: str
    method: str
    value: Interval
    over: Mapping[str, Interval]
    verdict: str


def measure_run(
    folder: str | Path,
    *,
    arm: str | None = None,
    seed: int | None = None,
    data: str | None = None,
    images: int = 100,
    progress: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure the maps of a run's networks on test images.

    Args:
        folder: As for :func:`saam.comparison.open_seeds`.
        arm: Arm of a comparison; None takes its focus arm.
        seed: Seed of the arm; None takes all finished ones.
        data: Data set, with options, that replaces the run's own; None uses that of the run.
        images: Number of test images, the first of each class in turn. Images with an empty mask are left out.
        progress: Called with a line before each step.

    Returns:
        As :func:`trust_document`.

    Raises:
        FileNotFoundError: If there is no network, or the data are not on this machine.
        ValueError: If the folder, its data or the number of images do not allow it.
    """
    opened = open_seeds(folder, arm=arm, seed=seed, data=data)
    test = first_test_images(opened.splits, images, with_object=True)
    started = time.monotonic()
    measured = trust(
        opened.networks,
        test.pixels,
        labels=test.labels,
        masks=test.masks,
        preprocessing=opened.preprocessing,
        progress=progress,
    )
    return trust_document(
        measured,
        run=opened.title,
        data=opened.splits.label,
        torch=torch.__version__.partition("+")[0],
        seconds=round(time.monotonic() - started),
    )


def trust_rows(measured: Trust) -> list[TrustRow]:
    """Return all measures with intervals.

    An interval is over networks and images, see :mod:`saam.comparison.crossed`. With a single network, and for the
    correlation between seeds, whose pairs share networks, it is over images only.
    """
    rows = []
    for measure in MEASURES:
        by_method = measured.values.get(measure.name, {})
        for method, values in by_method.items():
            only_images = measure.name == _SEEDS_PAIRED
            over = {
                floor: _interval(values - by_method[floor])
                for floor in FLOORS
                if measure.floored and method not in FLOORS
            }
            value = _interval(values.mean(0, keepdim=True) if only_images else values)
            rows.append(TrustRow(measure.name, method, value, over, _verdict(over, measure.better)))
    return rows


def trust_document(measured: Trust, **about: Any) -> dict[str, Any]:
    """Return the measures as JSON values.

    Args:
        measured: The measures.
        about: What was measured: further entries.

    Returns:
        The entries of ``about``, "seeds", "images", "accuracy", and "rows" with the fields of `TrustRow`.
    """
    return {
        **about,
        "seeds": list(measured.seeds),
        "images": measured.images,
        "accuracy": None if measured.accuracy is None else [round(value, 4) for value in measured.accuracy],
        "rows": [
            {
                "measure": row.measure,
                "method": row.method,
                "value": _rounded(row.value),
                "over": {floor: _rounded(found) for floor, found in row.over.items()},
                "verdict": row.verdict,
            }
            for row in trust_rows(measured)
        ],
    }


def trust_text(document: Mapping[str, Any]) -> str:
    """Return a document as JSON with a line for each entry and each row."""
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in document.items() if name != "rows"]
    rows = ",\n".join(map(json.dumps, document["rows"]))
    return "{\n" + ",\n".join([*lines, f'"rows": [\n{rows}\n]']) + "\n}\n"


def _interval(values: Tensor) -> Interval:
    if len(values) > 1:
        found = crossed_interval({seed: row.numpy() for seed, row in enumerate(values)})
        return Interval(found.mean, found.low, found.high)
    row = values[0].numpy()
    half = float(stats.t.ppf(0.975, len(row) - 1) * row.std(ddof=1) / np.sqrt(len(row))) if len(row) > 1 else math.nan
    return Interval(float(row.mean()), float(row.mean()) - half, float(row.mean()) + half)


def _verdict(over: Mapping[str, Interval], better: str) -> str:
    if not over:
        return ""
    sign = -1 if better == "lower" else 1
    ends = [sorted((sign * found.low, sign * found.high)) for found in over.values()]
    if any(high < 0 for _, high in ends):
        return "worse"
    return "better" if all(low > 0 for low, _ in ends) else "open"


def _rounded(found: Interval) -> list[float | None]:
    return [round(value, 4) if math.isfinite(value) else None for value in (found.mean, found.low, found.high)]
