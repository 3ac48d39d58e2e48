"""Numbers and findings in words, the same for the terminal and the page.

Unknown values (None) are shown as an ellipsis; values that are not a number (a diverged loss) as NaN.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from saam.comparison.anytime import MOST_SEEDS_AHEAD
from saam.comparison.arm import PLAIN
from saam.comparison.metrics import Metric
from saam.comparison.statistics import Difference

__all__ = [
    "MISSING",
    "Failure",
    "at_chance",
    "count",
    "duration",
    "failed_runs",
    "few_images",
    "finding",
    "forecast",
    "gate_note",
    "interval",
    "is_guessing",
    "listed",
    "named",
    "noisy_costs",
    "number",
    "other_runs",
    "p_value",
    "probability",
    "ratio",
    "score_note",
    "seeds",
    "signed",
    "value_range",
    "verdict_sentence",
]

MISSING = "…"
_MINUS, _TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
_UNLEARNED = 0.95  # share of pixels; if every site stays above it, the pooling is nearly the mean
_UNMOVED = 0.05  # relative change of a map; if every site stays below it, attention is nearly the identity
_STATIC = 0.01  # standard deviation of the factors over images; below it they are constants
_ENOUGH = 6  # seeds from which a probability is worth saying
_NOISY = 0.1  # spread of a ratio of times
_MOST_FAILURES = 3  # number of failures listed individually
_SPOKEN = {
    PLAIN: "no attention",
    "wider": "a wider network",
    "wider:time": "a wider network of equal training time",
}
_WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


class Failure(Protocol):
    """A run that ended with an error."""

    @property
    def arm(self) -> str:
        """Label of the arm."""

    @property
    def seed(self) -> int:
        """Seed of the run."""

    @property
    def error(self) -> str:
        """Type and message of the error."""


class Ends(Protocol):
    """The ends of an interval."""

    @property
    def low(self) -> float:
        """Lower end."""

    @property
    def high(self) -> float:
        """Upper end."""


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with a true minus sign, and none before zero."""
    if value is None:
        return MISSING
    if math.isnan(value):
        return "NaN"
    text = f"{value:.{digits}f}"
    return text.replace("-", _MINUS) if float(text) else text.removeprefix("-")


def signed(value: float | None, digits: int = 2) -> str:
    """Return a number with its sign, including plus."""
    text = number(value, digits)
    return f"+{text}" if value is not None and float(f"{value:.{digits}f}") > 0 else text


def interval(ends: Ends, digits: int = 2) -> str:
    """Return "-0.05 to 0.68", "too few seeds" if there is no interval, or an empty string for a diverged loss."""
    if math.isfinite(ends.low) and math.isfinite(ends.high):
        return f"{number(ends.low, digits)} to {number(ends.high, digits)}"
    return "" if math.isnan(getattr(ends, "mean", 0.0)) else "too few seeds"


def p_value(p: float) -> str:
    """Return a p-value without leading zero, as papers print it: ".12", ".031", "< .001"."""
    if p < 0.001:
        return "< .001"
    return number(p, 3 if p < 0.1 else 2).removeprefix("0")


def ratio(value: float | None, digits: int = 2, spread: float | None = None) -> str:
    """Return a factor with its sign, 1.12 and a cross, and its spread if known: "± .02"."""
    if value is None:
        return MISSING
    text = number(value, digits) + _TIMES
    return text if spread is None else f"{text} ± {number(spread, digits).removeprefix('0')}"


def count(value: float | None) -> str:
    """Return a large number with three figures: "77.9k", "1.20M"."""
    if value is None:
        return MISSING
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            whole = len(str(int(abs(value) / size)))
            return f"{value / size:.{max(0, 3 - whole)}f}{unit}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """Return "48 s", "12 min" or "3.4 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def seeds(n: int) -> str:
    """Return "one seed", "six seeds", "20 seeds"."""
    return f"{_WORDS[n] if n < len(_WORDS) else n} seed{'' if n == 1 else 's'}"


def listed(names: Sequence[str], last: str = "and") -> str:
    """Return "a, b and c"."""
    return f" {last} ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def named(arm: str) -> str:
    """Return the name of an arm in a sentence: "none" is "no attention", "wider" is "a wider network"."""
    name, _, options = arm.partition(",")
    spoken = _SPOKEN.get(name, name)
    if spoken == name or not options:
        return spoken if not options else arm
    return f"{spoken} ({options.replace(',', ', ')})"


def forecast(difference: Difference) -> str:
    """Return how many more seeds a verdict needs: "about 12 more seeds", or an empty string if there is a verdict."""
    if difference.verdict != "cannot tell yet":
        return ""
    if math.isnan(difference.mean):
        return "a score is NaN" if difference.n else ""
    more = difference.evidence.more_seeds
    if more is None:
        return f"more than {MOST_SEEDS_AHEAD} more seeds"
    return f"about {more} more seed{'' if more == 1 else 's'}"


def probability(value: float) -> str:
    """Return a probability without leading zero: ".93", "> .99"."""
    if value > 0.995:
        return "> .99"
    return "< .01" if value < 0.005 else number(value).removeprefix("0")


def verdict_sentence(difference: Difference, others: Sequence[Difference] = (), *, failed: int = 0) -> str:
    """Return one sentence: the verdict, the size of the difference, its certainty, and the verdicts of other metrics.

    First stands what is valid at any number of seeds, with the p-value that decided, then what is for a fixed number.

    Args:
        difference: The difference in the primary metric.
        others: The same pair in the other metrics; those with another verdict are mentioned.
        failed: Number of seeds that are missing because a run of one of the two arms failed.
    """
    metric = difference.metric
    pair = f"{named(difference.arm)} vs {named(difference.reference)}"
    if not difference.n:
        return f"{pair}: no seed is finished in both yet"
    verdict: str = difference.verdict
    if verdict == "equivalent":
        verdict += f" within {_amount(number(metric.delta, metric.digits), metric)}"
    size = _amount(signed(difference.mean, metric.digits), metric)
    missing = f", without {seeds(failed)} in which a run failed" if failed else ""
    parts = [f"{pair}: {verdict}, {size} after {seeds(difference.n)}{missing}"]
    if math.isfinite(difference.evidence.low) and math.isfinite(difference.evidence.high):
        p = f", {_p(difference.evidence.p_holm)}" if difference.verdict in ("better", "worse") else ""
        parts[0] += f" (95 % confidence sequence {interval(difference.evidence, metric.digits)}{p})"
    if more := forecast(difference):
        parts[0] += f", {more}"
    if math.isfinite(difference.ahead) and difference.n >= _ENOUGH:
        parts.append(f"ahead on a new seed with probability {probability(difference.ahead)}")
    fixed = _p(difference.p_holm)
    if math.isfinite(difference.low):
        fixed = f"interval {interval(difference, metric.digits)}, {fixed}"
    parts.append(f"at a fixed number of seeds {fixed}")
    for other in others:
        if other.verdict not in ("cannot tell yet", difference.verdict):
            gap = _amount(signed(other.mean, other.metric.digits), other.metric)
            parts.append(f"by {other.metric.label} {other.verdict} ({gap})")
    return "; ".join(parts)


def finding(focus: str, differences: Sequence[Difference], others: Sequence[str]) -> str:
    """Return the result in one sentence: where the focus arm is better or worse, and where this is undecided.

    Args:
        focus: Label of the arm that the question is about.
        differences: Focus minus alternative.
        others: Labels of all alternatives, with or without runs.
    """
    groups: dict[str, list[Difference]] = {}
    for difference in differences:
        if difference.n:
            groups.setdefault(difference.verdict, []).append(difference)
    ways = {"better": "better than", "worse": "worse than", "equivalent": "equivalent to"}
    told = [f"{words} {_references(groups[way])}" for way, words in ways.items() if way in groups]
    untold = groups.get("cannot tell yet", [])
    if told and untold:
        rest = f"{_seeds_of(untold)} cannot tell it from {_references(untold, 'or')} yet"
        return f"{_begin(named(focus))} is {listed(told)}; {rest}"
    if told:
        return f"{_begin(named(focus))} is {listed(told)}"
    if untold:
        return _begin(f"{_seeds_of(untold)} cannot tell {named(focus)} from {_references(untold, 'or')} yet")
    if others:
        return f"{_begin(named(focus))} against {listed(list(map(named, others)))}: no pair of runs is finished yet"
    return f"{_begin(named(focus))} alone: there is no other arm to compare it with"


def failed_runs(failures: Sequence[Failure], planned: int) -> str:
    """Say which runs failed and why: "1 of 28 runs failed: se, seed 3: out of memory"; empty if none failed."""
    if not failures:
        return ""
    told = [f"{each.arm}, seed {each.seed}: {_first_line(each.error)}" for each in failures[:_MOST_FAILURES]]
    if len(failures) > _MOST_FAILURES:
        told.append(f"and {len(failures) - _MOST_FAILURES} more")
    return f"{len(failures)} of {planned} runs failed: {'; '.join(told)}"


def other_runs(n: int) -> str:
    """Say that a folder has finished runs that are not shown; empty if it has none."""
    if not n:
        return ""
    runs, are = ("run", "is") if n == 1 else ("runs", "are")
    return f"{n} more finished {runs} in the folder {are} not shown, of other arms or seeds than this plan has"


def at_chance(accuracy: float, classes: int, images: int) -> str:
    """Say that the best arm's accuracy (%) is that of guessing, within two standard errors; otherwise empty."""
    if not is_guessing(accuracy, classes, images):
        return ""
    best, guess = (f"{number(value)}\N{NO-BREAK SPACE}%" for value in (accuracy, 100 / classes))
    return f"No arm is clearly better than guessing: {best} at best, guessing has {guess} ({images:,} test images)"


def is_guessing(accuracy: float, classes: int, images: int) -> bool:
    """Return whether an accuracy (%) is that of guessing, within two standard errors."""
    chance = 100 / classes
    return accuracy <= chance + 2 * math.sqrt(chance * (100 - chance) / images)


def few_images(n: int) -> str:
    """Warn if there are so few test images that each one counts more than a point; otherwise empty."""
    images = "1 test image" if n == 1 else f"{n} test images"
    return f"{images}: each weighs {number(100 / n, 1)} points of accuracy; take 100 or more." if n < 100 else ""


def noisy_costs(spreads: Mapping[str, float]) -> str:
    """Say that costs were measured while something else ran; empty if they were not.

    Args:
        spreads: Arm -> the largest spread of its ratios of times.
    """
    noisy = [arm for arm, spread in spreads.items() if spread > _NOISY]
    if not noisy:
        return ""
    return (
        f"the times of {listed(noisy)} vary by more than {number(_NOISY).removeprefix('0')} from round to round, so "
        "something else ran on this machine: to measure again when it is idle, delete costs.json and repeat the command"
    )


def value_range(values: Collection[float]) -> str:
    """Return the lowest and the highest value, as ".21 to .93", or a single value."""
    ends = dict.fromkeys(number(value).removeprefix("0") for value in (min(values), max(values)))
    return " to ".join(ends)


def gate_note(changes: Collection[float], images: Collection[float] = ()) -> str:
    """Say that an attention is still nearly the identity, or does the same for every image; empty otherwise.

    Args:
        changes: Relative change of the map at each site (`saam.explain.GateUse`) with the weights of the last epoch,
            mean over seeds. The attention never left the identity if all of them are below .05.
        images: Standard deviation of the factors over images at each site, likewise. The attention does not depend on
            the image if all of them are below .01.
    """
    every = "every site" if len(changes) > 1 else "its site"
    if max(changes) < _UNMOVED:
        return (
            f"attention never left the identity, {every} changes its map by less than 5\N{NO-BREAK SPACE}%; "
            "train longer, or let new parameters learn faster"
        )
    if images and max(images) < _STATIC:
        return f"attention does not depend on the image, at {every} the factors of the channels are constants"
    return ""


def score_note(arm: str, shares: Collection[float]) -> str:
    """Say how much an arm uses its scores, or that its pooling is unlearned.

    Args:
        arm: Its label.
        shares: Share of pixels that each site uses (`saam.explain.ScoreUse`) with the weights of the last epoch, mean
            over seeds. The pooling is unlearned if all of them are above .95.
    """
    if min(shares) > _UNLEARNED:
        mean = "an se" if arm.partition(",")[0].partition(":")[0] in ("saam", "se") else "mean pooling"
        every = "every site uses" if len(shares) > 1 else "its site uses"
        return (
            f"{arm}: pooling unlearned, {every} more than 95\N{NO-BREAK SPACE}% of the pixels; it is {mean} in effect"
        )
    return f"{arm}: scores used, share of pixels {value_range(shares)} (1 = mean pooling)"


def _references(differences: Sequence[Difference], last: str = "and") -> str:
    return listed([named(difference.reference) for difference in differences], last)


def _seeds_of(differences: Sequence[Difference]) -> str:
    return seeds(max(difference.n for difference in differences))


def _p(value: float) -> str:
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def _amount(text: str, metric: Metric) -> str:
    return f"{text} {metric.difference_unit}".rstrip()


def _begin(text: str) -> str:
    """Capitalise the first letter of a sentence, unless its first word is the name of an arm."""
    ours = f"{text} ".startswith(tuple(f"{words} " for words in (*_WORDS, *_SPOKEN.values())))
    return text[0].upper() + text[1:] if ours else text


def _first_line(error: object) -> str:
    return next(iter(str(error).strip().splitlines()), "") or "no message"
