"""The interval of a difference over seeds x images, for claims about both new seeds and new images.

The interval over seeds alone treats the test images as fixed. Here both are samples. With y_ij the paired difference of
seed i on image j, the model has crossed random effects:

    y_ij = m + a_i + b_j + e_ij
    MS_seed  = J / (I - 1) * sum_i (y_i. - y..)^2            expectation  J var(a) + var(e)
    MS_image = I / (J - 1) * sum_j (y_.j - y..)^2            expectation  I var(b) + var(e)
    MS_rest  = sum_ij (y_ij - y_i. - y_.j + y..)^2 / ((I - 1) (J - 1))       expectation  var(e)
    var(y..) = var(a) / I + var(b) / J + var(e) / (I J)

The variance of the mean is estimated by (MS_seed + MS_image - MS_rest) / (I J), but at least by the larger of MS_seed
and MS_image over I J, so that a negative component counts as zero. The interval is Student's t with Satterthwaite's
degrees of freedom.

Sources: Searle, Casella & McCulloch, Variance Components, 1992; Satterthwaite, An approximate distribution of estimates
    of variance components, Biometrics 1946.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

__all__ = ["CrossedInterval", "crossed_interval"]


@dataclass(frozen=True)
class CrossedInterval:
    """A mean over seeds and images with its interval.

    Attributes:
        mean: Mean of all values.
        low: Lower end of the interval; NaN with one seed or one image.
        high: Its upper end.
        seeds: Number of seeds.
        images: Number of images.
        seed_variance: var(a), zero if the estimate is negative.
        image_variance: var(b), likewise.
        rest_variance: var(e), of seed and image together.
        degrees: Degrees of freedom of the t distribution.
    """

    mean: float
    low: float
    high: float
    seeds: int
    images: int
    seed_variance: float
    image_variance: float
    rest_variance: float
    degrees: float

    @property
    def image_share(self) -> float:
        """Share of the variance of the mean that comes from the images; NaN if there is no variance."""
        images = self.image_variance / self.images
        whole = images + self.seed_variance / self.seeds + self.rest_variance / (self.seeds * self.images)
        return images / whole if whole else math.nan


def crossed_interval(differences: Mapping[int, ArrayLike], *, level: float = 0.95) -> CrossedInterval:
    """Return the mean difference and its interval over seeds x images.

    Args:
        differences: Seed -> (J,) paired values of the test images, in one order for all seeds; for example the loss of
            an arm minus that of the reference.
        level: Coverage of the interval.

    Raises:
        ValueError: If there is no seed or image, values are not finite or not one row of numbers, the numbers of images
            differ, or the level is outside 0 to 1.

    Example:
        >>> found = crossed_interval({0: [1.0, 2.0, 3.0], 1: [2.0, 3.0, 4.0]})
        >>> found.mean, found.seed_variance, found.image_variance, found.rest_variance
        (2.5, 0.5, 1.0, 0.0)
    """
    rows = {seed: np.asarray(values, dtype=float) for seed, values in differences.items()}
    shapes = {row.shape for row in rows.values()}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 1 or not shape[0]:
        raise ValueError(
            f"expected one row of values for each seed, all over the same images, got shapes {sorted(shapes)}"
        )
    y = np.stack(list(rows.values()))
    if not np.isfinite(y).all():
        bad = [seed for seed, row in rows.items() if not np.isfinite(row).all()]
        raise ValueError(f"expected finite values, got others in the rows of seeds {bad}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    seeds, images = y.shape
    mean = float(y.mean())
    if min(seeds, images) < 2:
        return CrossedInterval(mean, math.nan, math.nan, seeds, images, *[math.nan] * 4)
    by_seed, by_image = y.mean(axis=1, keepdims=True), y.mean(axis=0, keepdims=True)
    of_seed = images * float(np.square(by_seed - mean).sum()) / (seeds - 1)
    of_image = seeds * float(np.square(by_image - mean).sum()) / (images - 1)
    rest = float(np.square(y - by_seed - by_image + mean).sum()) / ((seeds - 1) * (images - 1))
    parts = {of_seed: seeds - 1, of_image: images - 1}
    whole = of_seed + of_image - rest
    if whole >= max(of_seed, of_image):
        uncertain = of_seed**2 / (seeds - 1) + of_image**2 / (images - 1) + rest**2 / ((seeds - 1) * (images - 1))
        degrees = whole**2 / uncertain if uncertain else math.inf
    else:
        whole = max(of_seed, of_image)
        degrees = float(parts[whole])
    half = float(stats.t.ppf((1 + level) / 2, degrees)) * math.sqrt(whole / (seeds * images))
    return CrossedInterval(
        mean=mean,
        low=mean - half,
        high=mean + half,
        seeds=seeds,
        images=images,
        seed_variance=max(0.0, of_seed - rest) / images,
        image_variance=max(0.0, of_image - rest) / seeds,
        rest_variance=rest,
        degrees=degrees,
    )
