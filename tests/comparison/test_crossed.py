import math

import numpy as np
import pytest
from scipy import stats

from saam.comparison.crossed import crossed_interval


def sample(rng, seeds, images, of_seed, of_image, rest):
    return (
        rng.normal(0, of_seed, (seeds, 1)) + rng.normal(0, of_image, (1, images)) + rng.normal(0, rest, (seeds, images))
    )


def test_components_are_those_of_the_analysis_of_variance():
    y = sample(np.random.default_rng(0), 4, 7, 1.0, 2.0, 0.5)
    found = crossed_interval(dict(enumerate(y)))
    mean = y.mean()
    squares = {"seed": 0.0, "image": 0.0, "rest": 0.0}
    for i in range(4):
        for j in range(7):
            squares["seed"] += (y[i].mean() - mean) ** 2 / 3
            squares["image"] += (y[:, j].mean() - mean) ** 2 / 6
            squares["rest"] += (y[i, j] - y[i].mean() - y[:, j].mean() + mean) ** 2 / 18
    assert found.mean == pytest.approx(mean)
    assert found.rest_variance == pytest.approx(squares["rest"])
    assert found.seed_variance == pytest.approx((squares["seed"] - squares["rest"]) / 7)
    assert found.image_variance == pytest.approx((squares["image"] - squares["rest"]) / 4)
    variance = found.seed_variance / 4 + found.image_variance / 7 + found.rest_variance / 28
    half = stats.t.ppf(0.975, found.degrees) * math.sqrt(variance)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert (found.seeds, found.images) == (4, 7)
    assert found.image_share == pytest.approx(found.image_variance / 7 / variance)


def test_without_variance_of_images_it_is_the_interval_over_seeds():
    seeds = np.array([0.1, 0.5, -0.2, 0.9])
    found = crossed_interval({seed: np.full(50, value) for seed, value in enumerate(seeds)})
    expected = stats.t.interval(0.95, 3, seeds.mean(), seeds.std(ddof=1) / 2)
    assert (found.low, found.high) == pytest.approx(expected)


def test_without_variance_of_seeds_it_is_the_interval_over_images():
    images = np.random.default_rng(1).normal(0.2, 1.0, 40)
    found = crossed_interval(dict.fromkeys(range(5), images))
    assert (found.low, found.high) == pytest.approx(
        stats.t.interval(0.95, 39, images.mean(), images.std(ddof=1) / 40**0.5)
    )


def test_a_negative_component_counts_as_zero():
    y = np.array([[1.0, -1.0], [-1.0, 1.0]])
    found = crossed_interval({0: y[0], 1: y[1]})
    assert (found.seed_variance, found.image_variance) == (0.0, 0.0)
    assert found.low <= 0 <= found.high


@pytest.mark.parametrize(
    ("seeds", "images", "scales"),
    [
        (5, 400, (0.5, 0.1, 1)),
        (3, 400, (0.02, 1, 1)),
        (5, 400, (0.03, 1, 1)),
        (7, 400, (0.1, 3, 3)),
        (5, 400, (0, 0, 1)),
    ],
)
def test_it_covers_as_often_as_it_says(seeds, images, scales):
    rng = np.random.default_rng(seeds)
    covered = 0
    for _ in range(800):
        found = crossed_interval(dict(enumerate(sample(rng, seeds, images, *scales))))
        covered += found.low <= 0 <= found.high
    assert 0.925 <= covered / 800 <= 0.985


def test_the_level_widens_the_interval():
    rows = dict(enumerate(sample(np.random.default_rng(2), 5, 30, 1, 1, 1)))
    wide, narrow = crossed_interval(rows, level=0.99), crossed_interval(rows, level=0.9)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_seed_has_a_mean_and_no_interval():
    found = crossed_interval({3: [1.0, 2.0]})
    assert (found.mean, found.seeds, found.images) == (1.5, 1, 2)
    assert math.isnan(found.low)


@pytest.mark.parametrize(
    ("rows", "level", "message"),
    [
        ({}, 0.95, "one row of values for each seed"),
        ({0: []}, 0.95, "one row of values for each seed"),
        ({0: [1.0, 2.0], 1: [1.0]}, 0.95, r"same images, got shapes \[\(1,\), \(2,\)\]"),
        ({0: [[1.0]]}, 0.95, "one row of values for each seed"),
        ({0: [1.0], 7: [math.nan]}, 0.95, r"rows of seeds \[7\]"),
        ({0: [1.0]}, 1.0, "level must be between 0 and 1, got 1.0"),
    ],
)
def test_what_is_no_table_is_refused(rows, level, message):
    with pytest.raises(ValueError, match=message):
        crossed_interval(rows, level=level)
