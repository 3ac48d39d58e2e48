"""Calibration: whether a network that is 80 % sure is right in 80 % of cases."""

import math
from dataclasses import dataclass

from torch import Tensor

__all__ = ["Reliability", "calibration_error", "reliability"]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Images grouped by confidence into bins of equal width.

    Args:
        count: (bins,) number of images.
        confidence: (bins,) mean confidence, in 0..1; 0 in an empty bin.
        accuracy: (bins,) share of correct images; 0 in an empty bin.
    """

    count: Tensor
    confidence: Tensor
    accuracy: Tensor


def reliability(confidence: Tensor, correct: Tensor, *, bins: int = 15) -> Reliability:
    """Group images by confidence.

    Args:
        confidence: (N,) probability of the predicted class, in 0..1.
        correct: (N,) whether the prediction is right.
        bins: Number of bins over 0..1.

    Raises:
        ValueError: If there are no images, or a confidence is outside 0..1.
    """
    confidence, correct = confidence.double(), correct.double()
    if not len(confidence) or confidence.shape != correct.shape or not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError(
            f"expected confidences (N,) in 0..1 and as many answers, got {tuple(confidence.shape)} and "
            f"{tuple(correct.shape)}"
        )
    place = (confidence * bins).ceil().long().sub(1).clamp(min=0)  # bins are open below, closed above
    count = place.bincount(minlength=bins)
    sums = [place.bincount(weights=values, minlength=bins) for values in (confidence, correct)]
    means = [total / count.clamp(min=1) for total in sums]
    return Reliability(count, *means)


def calibration_error(confidence: Tensor, correct: Tensor, *, bins: int = 15) -> float:
    """Return the expected calibration error in percent: the gap between confidence and accuracy, averaged over images.

    The estimate of Naeini et al. (AAAI 2015) with the 15 bins of Guo et al. (arXiv 1706.04599).

    Args:
        confidence: (N,) probability of the predicted class, in 0..1.
        correct: (N,) whether the prediction is right.
        bins: Number of bins over 0..1.

    Returns:
        The error; NaN if a confidence is NaN.

    Raises:
        ValueError: As in `reliability`.

    Example:
        >>> import torch
        >>> round(calibration_error(torch.tensor([0.8, 0.8, 0.8, 0.8]), torch.tensor([1, 1, 1, 0])), 3)
        5.0
    """
    if confidence.isnan().any():  # the network has diverged
        return math.nan
    found = reliability(confidence, correct, bins=bins)
    gap = (found.confidence - found.accuracy).abs()
    return round(100 * float((gap * found.count).sum() / len(confidence)), 6)
