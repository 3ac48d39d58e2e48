"""Do the intervals cover, and do the verdicts hold, at the numbers of seeds that people have? By simulation.

    python benchmarks/coverage.py           simulate (a minute), write docs/results/coverage.json and coverage.md
    python benchmarks/coverage.py --check   fail if coverage.md is not what coverage.json says; simulate nothing

Every figure is drawn from generators with fixed seeds.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from saam.comparison.anytime import ALPHA, e_process
from saam.comparison.crossed import crossed_interval
from saam.comparison.signflip import sign_flip

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "results"
Array = NDArray[np.float64]

LOG_MEAN, LOG_STD = math.exp(0.32), math.sqrt(math.exp(1.28) - math.exp(0.64))  # of a log-normal with sigma .8
# Differences with mean 0 and standard deviation 1.
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, size: rng.standard_normal(size),
    "exponential": lambda rng, size: rng.exponential(size=size) - 1,
    "log-normal": lambda rng, size: (rng.lognormal(0, 0.8, size) - LOG_MEAN) / LOG_STD,
    "Student t, 3 df": lambda rng, size: rng.standard_t(3, size) / math.sqrt(3),
}
SEEDS = (3, 5, 7, 10, 20)
LONGEST = 40
PAGE = """\
<!-- Made by benchmarks/coverage.py from coverage.json; edit the script, not this page. -->

# Do the intervals cover?

A comparison has five to ten seeds, where textbook intervals can fail. These simulations say how often each 95 %
interval holds the true difference, and how often a verdict is wrong.

    python benchmarks/coverage.py    # {seconds} seconds on one core; the draws have fixed seeds

## A number of seeds that was fixed beforehand

Coverage in % of the mean of paired differences. *t* is Student's t, *BCa* the bootstrap of Efron (JASA 1987), and
*flip* the interval that agrees with the sign-flip test; tables and reports show flip. 10,000 trials for t, 4,000 for
flip, 2,000 for BCa; the standard errors are at most .3, .5 and 1.1 points.

{intervals}

BCa is too short, whatever the distribution, and is not used. Student's t and flip hold the level for symmetric
differences, also with heavy tails. Flip has no ends below six seeds, where no test of signs can reach p < .05; hence
its 100. For skewed differences both fall short. Two arms that are equally good could change places, so their
differences are symmetric: the test is exact, and skewness costs coverage only where there is an effect.

## Seeds added until something shows

How often a null effect is called real by somebody who looks after every seed, up to {longest} seeds, in % of 10,000
trials: by a paired t-test that is repeated, and by the e-process at alpha = .05, where the real spread is half, once
or twice the planned one. The coverage of the confidence sequence, at all numbers of seeds at once, is 100 minus the
e-process' figure.

| differences | t-test, repeated | e-process, half the spread | as planned | twice the spread |
|---|---:|---:|---:|---:|
{anytime}

If two arms do not differ, they could change places, so their differences are symmetric. There the e-process keeps its
promise at any spread. In the skewed rows the arms do differ, though not in the mean: the mean is not the centre of
symmetry, and the confidence sequence misses it more often than in 5 %.

## Seeds until a verdict

Median number of seeds until a true effect is detected (normal differences, one comparison, 4,000 trials). Effects are
in real standard deviations. The last column is the time until two equal arms are called equivalent within one planned
spread.

| real spread / planned | effect .5 | 1 | 1.5 | 2 | no effect: equivalent |
|---|---:|---:|---:|---:|---:|
{waits}

## Seeds x images

Coverage in % of the interval over seeds and {images} test images (crossed random effects, 1,000 trials), for standard
deviations over seeds, over images, and of the rest:

| seeds | over seeds | over images | rest | coverage |
|---:|---:|---:|---:|---:|
{crossed}
"""
CROSSED = ((5, 0.5, 0.1, 1.0), (5, 0.0, 0.0, 1.0), (3, 0.02, 1.0, 1.0), (5, 0.02, 0.5, 3.0), (10, 0.05, 0.3, 3.0))
IMAGES = 500


def student(d: Array) -> float:
    """Coverage of zero by Student's t, over trials (T, n)."""
    half = stats.t.ppf(1 - ALPHA / 2, d.shape[1] - 1) * d.std(axis=1, ddof=1) / math.sqrt(d.shape[1])
    return float((np.abs(d.mean(axis=1)) <= half).mean())


def bca(d: Array, resamples: int = 1999) -> float:
    """Coverage of zero by the BCa bootstrap (Efron, JASA 1987), over trials (T, n)."""
    rng, n, covered = np.random.default_rng(1), d.shape[1], 0
    for part in np.array_split(d, max(1, len(d) // 100)):
        means = np.take_along_axis(part[:, None], rng.integers(0, n, (len(part), resamples, n)), axis=2).mean(axis=2)
        mean = part.mean(axis=1, keepdims=True)
        bias = stats.norm.ppf(((means < mean).mean(axis=1) + (means <= mean).mean(axis=1)) / 2)[:, None]
        left_out = (part.sum(axis=1, keepdims=True) - part) / (n - 1)
        centred = left_out.mean(axis=1, keepdims=True) - left_out
        acceleration = (centred**3).sum(axis=1, keepdims=True) / (6 * (centred**2).sum(axis=1, keepdims=True) ** 1.5)
        z = bias + stats.norm.ppf([[ALPHA / 2, 1 - ALPHA / 2]])
        levels = stats.norm.cdf(bias + z / (1 - acceleration * z))
        ends = [np.quantile(row, level) for row, level in zip(means, levels, strict=True)]
        covered += sum(low <= 0 <= high for low, high in ends)
    return covered / len(d)


def sign_flips(d: Array) -> float:
    """Coverage of zero by the interval that agrees with the sign-flip test, over trials (T, n)."""
    return float(np.mean([sign_flip(row) >= ALPHA for row in d]))


def peeking(d: Array) -> float:
    """How often a paired t-test that is repeated after every seed from the third on calls a null real."""
    n = np.arange(1, d.shape[1] + 1)
    mean, square = np.cumsum(d, axis=1) / n, np.cumsum(d**2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(mean) / np.sqrt((square - n * mean**2) / (n - 1) / n)
    return float((t[:, 2:] > stats.t.ppf(1 - ALPHA / 2, n[2:] - 1)).any(axis=1).mean())


def ever(d: Array, spread: float = 1.0) -> float:
    """How often the e-process reaches 1 / alpha."""
    return float((e_process(d, spread) >= -math.log(ALPHA)).any(axis=1).mean())


def median_wait(d: Array, spread: float) -> int:
    """Number of seeds until the e-process reaches 1 / alpha, in the median; 0 if it takes more than there are."""
    reached = e_process(d, spread) >= -math.log(ALPHA)
    waits = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, d.shape[1] + 1)
    return int(np.median(waits)) % (d.shape[1] + 1)


def equivalence_wait(d: Array, spread: float, delta: float) -> int:
    """Number of seeds until the confidence sequence lies within +-delta, in the median; 0 if it takes more."""
    sides = [e_process(d + shift, spread) >= -math.log(ALPHA) for shift in (-delta, delta)]
    both = np.logical_and(*(np.logical_or.accumulate(side, axis=1) for side in sides))
    waits = np.where(both.any(axis=1), both.argmax(axis=1) + 1, d.shape[1] + 1)
    return int(np.median(waits)) % (d.shape[1] + 1)


def crossed(seeds: int, of_seed: float, of_image: float, rest: float, trials: int = 1000) -> float:
    """Coverage of zero by the interval over seeds x images."""
    rng, covered = np.random.default_rng(5), 0
    for _ in range(trials):
        rows = rng.normal(0, rest, (seeds, IMAGES))
        rows += of_seed * rng.standard_normal((seeds, 1)) + of_image * rng.standard_normal((1, IMAGES))
        found = crossed_interval(dict(enumerate(rows)))
        covered += found.low <= 0 <= found.high
    return covered / trials


def simulate() -> dict[str, Any]:
    """Return all figures."""
    started = time.monotonic()
    figures: dict[str, Any] = {"intervals": {}, "anytime": {}, "waits": {}, "equivalence": {}, "crossed": []}
    for place, (shape, draw) in enumerate(SHAPES.items()):
        figures["intervals"][shape] = {}
        for n in SEEDS:
            d = draw(np.random.default_rng([place, n]), (10_000, n))
            figures["intervals"][shape][str(n)] = {
                "student": student(d),
                "bca": bca(d[:2000]),
                "sign-flip": sign_flips(d[:4000]),
            }
        d = draw(np.random.default_rng([place, 100]), (10_000, LONGEST))
        figures["anytime"][shape] = {"peeking": peeking(d)}
        figures["anytime"][shape] |= {f"{real:g}": ever(real * d) for real in (0.5, 1.0, 2.0)}
    for real in (0.5, 1.0, 2.0):
        rng = np.random.default_rng([7, int(10 * real)])
        figures["waits"][f"{real:g}"] = {
            f"{effect:g}": median_wait(real * (effect + rng.standard_normal((4000, 200))), 1.0)
            for effect in (0.5, 1.0, 1.5, 2.0)
        }
        none = real * rng.standard_normal((4000, 200))
        figures["equivalence"][f"{real:g}"] = equivalence_wait(none, 1.0, 1.0)
    figures["crossed"] = [[*setting, crossed(*setting)] for setting in CROSSED]
    figures["seconds"] = round(time.monotonic() - started)
    return figures


def page(figures: Mapping[str, Any]) -> str:
    """Return the text of the page."""
    head = " | ".join(f"{n} seeds: t, BCa, flip" for n in SEEDS)
    intervals = [f"| differences | {head} |", f"|---|{'---|' * len(SEEDS)}"]
    for shape, by_n in figures["intervals"].items():
        cells = [", ".join(_percent(by_n[str(n)][name]) for name in ("student", "bca", "sign-flip")) for n in SEEDS]
        intervals.append(f"| {shape} | {' | '.join(cells)} |")
    anytime = [
        f"| {shape} | {' | '.join(_percent(rates[key]) for key in ('peeking', '0.5', '1', '2'))} |"
        for shape, rates in figures["anytime"].items()
    ]
    waits = []
    for real, by_effect in figures["waits"].items():
        row = [*by_effect.values(), figures["equivalence"][real]]
        waits.append(f"| {real} | {' | '.join(str(wait) if wait else '> 200' for wait in row)} |")
    crossed_rows = [
        f"| {seeds} | {of_seed:g} | {of_image:g} | {rest:g} | {_percent(rate)} |"
        for seeds, of_seed, of_image, rest, rate in figures["crossed"]
    ]
    return PAGE.format(
        seconds=figures["seconds"],
        longest=LONGEST,
        images=IMAGES,
        intervals="\n".join(intervals),
        anytime="\n".join(anytime),
        waits="\n".join(waits),
        crossed="\n".join(crossed_rows),
    )


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f}"


def main() -> None:
    """Simulate and write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the page with the stored figures")
    stored, written = FOLDER / "coverage.json", FOLDER / "coverage.md"
    if not parser.parse_args().check:
        stored.write_text(json.dumps(simulate(), indent=1) + "\n")
        written.write_text(page(json.loads(stored.read_text())))
    elif not written.is_file() or written.read_text() != page(json.loads(stored.read_text())):
        sys.exit(f"{written} is not what {stored.name} says; run: python benchmarks/coverage.py")


if __name__ == "__main__":
    main()
