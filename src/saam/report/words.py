"""Numbers and findings in words, the same on the terminal and on the page.

What is not known yet (None) shows as an ellipsis; what a run computed but is no number (a diverged loss) as NaN.
"""

import math
from collections.abc import Collection, Sequence

from saam.comparison.plan import PLAIN, Arm
from saam.comparison.statistics import ArmSummary, Difference

__all__ = [
    "MISSING",
    "at_chance",
    "count",
    "duration",
    "few_images",
    "finding",
    "interval",
    "listed",
    "number",
    "p_value",
    "ratio",
    "score_note",
    "seeds",
    "share_range",
    "signed",
    "verdict_sentence",
]

MISSING = "…"
_MINUS, _TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
_UNLEARNED = 0.95  # share of the pixels; weights that stay above it at every site pool as the mean does
_WORDS = ["no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def number(value: float | None, digits: int = 2) -> str:
    """Return a number with a true minus sign, and none before zero."""
    if value is None:
        return MISSING
    if math.isnan(value):
        return "NaN"
    text = f"{value:.{digits}f}"
    return text.replace("-", _MINUS) if float(text) else text.removeprefix("-")


def signed(value: float | None, digits: int = 2) -> str:
    """Return a number with its sign, also where it is positive."""
    text = number(value, digits)
    return f"+{text}" if value is not None and float(f"{value:.{digits}f}") > 0 else text


def interval(scores: ArmSummary | Difference, digits: int = 2) -> str:
    """Return "-0.05 to 0.68", or "too few seeds" where these give no interval, or nothing for a diverged loss."""
    if math.isnan(scores.low):
        return "" if math.isnan(scores.mean) else "too few seeds"
    return f"{number(scores.low, digits)} to {number(scores.high, digits)}"


def p_value(p: float) -> str:
    """Return a p-value without leading zero, as papers print it: ".12", ".031", "< .001"."""
    if p < 0.001:
        return "< .001"
    return number(p, 3 if p < 0.1 else 2).removeprefix("0")


def ratio(value: float | None, digits: int = 2) -> str:
    """Return a factor with its sign: 1.12 and a cross."""
    return MISSING if value is None else number(value, digits) + _TIMES


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


def verdict_sentence(difference: Difference, loss: Difference | None) -> str:
    """Return one sentence: the difference in accuracy, how sure it is, and the log-loss where that says otherwise."""
    pair = f"{_named(difference.arm)} vs {_named(difference.reference)}"
    if not difference.n:
        return f"{pair}: no seed is finished in both yet"
    size = f"{signed(difference.mean)} points"
    if math.isfinite(difference.low):
        size += f" (95 % interval {interval(difference)})"
    told = "cannot tell" if difference.verdict == "cannot tell" else f"say {difference.verdict}"
    sentence = f"{pair}: {size}, {_p(difference)} after Holm: {seeds(difference.n)} {told}"
    if loss is not None and loss.verdict not in ("cannot tell", difference.verdict):
        sentence += f"; by log-loss {loss.verdict} ({signed(loss.mean, 3)}, {_p(loss)})"
    return sentence


def finding(focus: str, differences: Sequence[Difference], others: Sequence[str]) -> str:
    """Return the answer in one sentence: what the focus arm is better or worse than, and cannot be told from.

    Args:
        focus: label of the arm that the question is about.
        differences: focus minus alternative.
        others: labels of all alternatives, with runs or without.
    """
    groups: dict[str, list[Difference]] = {"better": [], "worse": [], "cannot tell": []}
    for difference in differences:
        if difference.n:
            groups[difference.verdict].append(difference)
    told = [f"{way} than {_references(groups[way])}" for way in ("better", "worse") if groups[way]]
    untold = groups["cannot tell"]
    if told and untold:
        return f"{_named(focus)} is {listed(told)}; {_seeds_of(untold)} cannot tell it from {_references(untold, 'or')}"
    if told:
        return f"{_named(focus)} is {listed(told)}"
    if untold:
        text = f"{_seeds_of(untold)} cannot tell {_named(focus)} from {_references(untold, 'or')}"
        return text[0].upper() + text[1:]
    if others:
        return f"{_named(focus)} against {listed([_named(arm) for arm in others])}: no pair of runs is finished yet"
    return f"{_named(focus)} alone: there is no other arm to compare it with"


def at_chance(accuracy: float, classes: int, images: int) -> str:
    """Say that the best arm's accuracy (%) is that of guessing, give or take two standard errors; else nothing."""
    chance = 100 / classes
    if accuracy <= chance + 2 * math.sqrt(chance * (100 - chance) / images):
        best, guess = (f"{number(value)}\N{NO-BREAK SPACE}%" for value in (accuracy, chance))
        return f"No arm learned better than chance: {best} at best, where guessing has {guess}"
    return ""


def few_images(n: int) -> str:
    """Warn of so few test images that one of them weighs more than a point; else nothing."""
    images = "1 test image" if n == 1 else f"{n} test images"
    return f"{images}: each weighs {number(100 / n, 1)} points of accuracy; take 100 or more." if n < 100 else ""


def share_range(shares: Collection[float]) -> str:
    """Return the lowest and the highest share of pixels, as ".21 to .93", or the one that there is."""
    ends = dict.fromkeys(number(share).removeprefix("0") for share in (min(shares), max(shares)))
    return " to ".join(ends)


def score_note(arm: str, shares: Collection[float]) -> str:
    """Say how much an arm uses its scores, or that its pooling is unlearned.

    Args:
        arm: its label.
        shares: of the pixels that each site uses (`saam.explain.ScoreUse`), with the weights of the last epoch, mean
            over seeds; the pooling is unlearned where all of them are above .95.
    """
    if min(shares) > _UNLEARNED:
        mean = "an se" if Arm(arm).attention.startswith("saam") else "mean pooling"
        every = "every site uses" if len(shares) > 1 else "its site uses"
        return (
            f"{arm}: pooling unlearned, {every} more than 95\N{NO-BREAK SPACE}% of the pixels; it is {mean} in effect"
        )
    return f"{arm}: scores used, share of pixels {share_range(shares)} (1 = mean pooling)"


def _named(arm: str) -> str:
    return "no attention" if arm == PLAIN else arm


def _references(differences: Sequence[Difference], last: str = "and") -> str:
    return listed([_named(difference.reference) for difference in differences], last)


def _seeds_of(differences: Sequence[Difference]) -> str:
    return seeds(max(difference.n for difference in differences))


def _p(difference: Difference) -> str:
    text = p_value(difference.p_holm)
    return f"p {text}" if text.startswith("<") else f"p = {text}"
