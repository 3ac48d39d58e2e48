"""Differences over both seeds and test images."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from saam.comparison import Comparison
from saam.comparison.crossed import CrossedInterval, crossed_interval
from saam.report.by_image import ByImage

__all__ = ["over_images"]


def over_images(scores: ByImage, comparison: Comparison) -> Mapping[str, Mapping[str, CrossedInterval]]:
    """Return the interval of each arm's difference to the reference over seeds x images.

    It is valid for new seeds *and* new images, while the intervals over seeds treat the test images as fixed.

    Args:
        scores: Result of `saam.report.by_image.by_image`.
        comparison: The comparison.

    Returns:
        Metric name -> arm -> interval, for those with finite scores of the same images from at least two seeds.
    """
    reference = comparison.plan.reference
    found: dict[str, dict[str, CrossedInterval]] = {}
    for metric in comparison.plan.metrics:
        for arm in comparison.plan.arms:
            differences = {
                seed: (scores[arm, seed][metric.name] - values[metric.name]).double().numpy()
                for (other, seed), values in scores.items()
                if other == reference != arm and _same_images(metric.name, values, scores.get((arm, seed), {}))
            }
            same = len({len(values) for values in differences.values()}) == 1
            whole = same and all(len(values) and np.isfinite(values).all() for values in differences.values())
            if len(differences) > 1 and whole:
                found.setdefault(metric.name, {})[arm] = crossed_interval(differences)
    return found


def _same_images(name: str, values: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> bool:
    return name in values and name in others and len(values[name]) == len(others[name])
