# ruff: noqa: RUF001  the signs are what is tested
import math
from typing import NamedTuple

import pytest

from saam.comparison.metrics import ACCURACY, LOSS, Metric
from saam.comparison.statistics import Difference, Evidence, Verdict
from saam.report.words import (
    at_chance,
    count,
    duration,
    failed_runs,
    few_images,
    finding,
    forecast,
    gate_note,
    interval,
    named,
    noisy_costs,
    number,
    p_value,
    probability,
    ratio,
    score_note,
    seeds,
    signed,
    value_range,
    verdict_sentence,
)

IOU = Metric("iou", "higher", spread=0.01, delta=0.015)


def difference(
    reference: str,
    verdict: Verdict = "cannot tell yet",
    *,
    n: int = 6,
    metric: Metric = ACCURACY,
    arm: str = "saam",
    sequence: tuple[float, float] = (-0.2, 0.9),
    more: int | None = 12,
    **changes: float,
) -> Difference:
    values = {
        "mean": 0.31,
        "low": -0.05,
        "high": 0.68,
        "p": 0.06,
        "p_holm": 0.12,
        "minimum_detectable": 0.4,
        "ahead": 0.71,
    }
    evidence = (3.0, 0.3, *sequence, more) if verdict == "cannot tell yet" else (62.9, 0.0477, *sequence, 0)
    return Difference(
        arm, reference, metric, n, **values | changes, values={}, evidence=Evidence(*evidence), verdict=verdict
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (number(88.214), "88.21"),
        (number(-0.0512, 3), "−0.051"),
        (number(-0.001), "0.00"),
        (number(None), "…"),
        (number(math.nan), "NaN"),
        (signed(0.305), "+0.30"),
        (signed(-2), "−2.00"),
        (signed(0.001), "0.00"),
        (signed(None), "…"),
        (p_value(0.1249), ".12"),
        (p_value(0.03125), ".031"),
        (p_value(0.0004), "< .001"),
        (p_value(1.0), "1.00"),
        (ratio(1.125), "1.12×"),
        (ratio(None), "…"),
        (ratio(1.07, spread=0.021), "1.07× ± .02"),
        (ratio(1.07, spread=None), "1.07×"),
        (probability(0.934), ".93"),
        (probability(0.996), "> .99"),
        (probability(0.5), ".50"),
        (probability(0.001), "< .01"),
        (count(77850), "77.8k"),
        (count(272474), "272k"),
        (count(1_200_000), "1.20M"),
        (count(40_800_000_000), "40.8G"),
        (count(870), "870"),
        (count(None), "…"),
        (duration(119), "119 s"),
        (duration(1536), "26 min"),
        (duration(12240), "3.4 h"),
        (seeds(1), "one seed"),
        (seeds(6), "six seeds"),
        (seeds(20), "20 seeds"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert text == expected


def test_an_interval_says_why_it_is_missing() -> None:
    nothing = {"low": math.nan, "high": math.nan}
    assert interval(difference("se")) == "−0.05 to 0.68"
    assert interval(difference("se"), 3) == "−0.050 to 0.680"
    assert interval(difference("se", n=4, **nothing)) == "too few seeds"
    assert interval(difference("se", n=4, low=-math.inf, high=math.inf)) == "too few seeds"
    assert interval(difference("se").evidence) == "−0.20 to 0.90"
    assert interval(difference("se", sequence=(-math.inf, math.inf)).evidence) == "too few seeds"
    assert interval(difference("se", mean=math.nan, **nothing)) == ""


def test_accuracy_within_noise_of_guessing_is_chance() -> None:
    best, guess = "14.20\N{NO-BREAK SPACE}%", "10.00\N{NO-BREAK SPACE}%"
    said = f"No arm is clearly better than guessing: {best} at best, guessing has {guess} (200 test images)"
    assert at_chance(14.2, classes=10, images=200) == said  # 10 and two standard errors of 2.12
    assert at_chance(14.3, classes=10, images=200) == ""
    assert at_chance(14.2, classes=10, images=10_000) == ""
    assert at_chance(14.2, classes=5, images=10_000) != ""  # worse than guessing
    assert at_chance(math.nan, classes=10, images=200) == ""


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (100, ""),
        (99, "99 test images: each weighs 1.0 points of accuracy; take 100 or more."),
        (40, "40 test images: each weighs 2.5 points of accuracy; take 100 or more."),
        (1, "1 test image: each weighs 100.0 points of accuracy; take 100 or more."),
    ],
)
def test_few_test_images_are_warned_of(images: int, said: str) -> None:
    assert few_images(images) == said


def test_a_verdict_in_one_sentence() -> None:
    assert verdict_sentence(difference("se")) == (
        "saam vs se: cannot tell yet, +0.31 points after six seeds (95 % confidence sequence −0.20 to 0.90), about 12 "
        "more seeds; ahead on a new seed with probability .71; at a fixed number of seeds interval −0.05 to 0.68, "
        "p = .12"
    )
    better = difference("none", "better", n=20, p_holm=0.0002, ahead=0.999)
    assert verdict_sentence(better) == (
        "saam vs no attention: better, +0.31 points after 20 seeds (95 % confidence sequence −0.20 to 0.90, p = .048); "
        "ahead on a new seed with probability > .99; at a fixed number of seeds interval −0.05 to 0.68, p < .001"
    )
    left_out = (
        "saam vs no attention: better, +0.31 points after 20 seeds, without two seeds in which a run failed (95 %"
    )
    assert verdict_sentence(better, failed=2).startswith(left_out)
    assert verdict_sentence(difference("se", n=0)) == "saam vs se: no seed is finished in both yet"
    few = {"low": -math.inf, "high": math.inf, "p_holm": 1.0}
    assert verdict_sentence(difference("wider", n=4, sequence=(-math.inf, math.inf), more=None, **few)) == (
        "saam vs a wider network: cannot tell yet, +0.31 points after four seeds, more than 200 more seeds; at a fixed "
        "number of seeds p = 1.00"
    )


def test_a_sentence_has_the_unit_and_digits_of_its_metric() -> None:
    said = verdict_sentence(difference("se", "equivalent", metric=IOU, mean=0.0042, sequence=(-0.01, 0.0125)))
    assert said.startswith(
        "saam vs se: equivalent within 0.015, +0.004 after six seeds (95 % confidence sequence −0.010 to 0.013);"
    )
    assert "equivalent within 0.020 nats, +0.004 nats after" in verdict_sentence(
        difference("se", "equivalent", metric=LOSS, mean=0.004)
    )


def test_other_metrics_speak_where_they_say_otherwise() -> None:
    told = difference("se", "better", mean=-0.0123, metric=LOSS)
    assert verdict_sentence(difference("se"), [told]).endswith("; by log-loss better (−0.012 nats)")
    both = verdict_sentence(difference("se"), [told, difference("se", "worse", metric=IOU)])
    assert both.endswith("; by log-loss better (−0.012 nats); by iou worse (+0.310)")
    assert "log-loss" not in verdict_sentence(difference("se", "better"), [told])
    assert "log-loss" not in verdict_sentence(difference("se"), [difference("se", metric=LOSS)])


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (difference("se", more=12), "about 12 more seeds"),
        (difference("se", more=1), "about 1 more seed"),
        (difference("se", more=None), "more than 200 more seeds"),
        (difference("se", "better"), ""),
        (difference("se", more=None, mean=math.nan), "a score is NaN"),
        (difference("se", n=0, more=None, mean=math.nan), ""),
    ],
)
def test_a_forecast_in_words(shown: Difference, said: str) -> None:
    assert forecast(shown) == said


@pytest.mark.parametrize(
    ("arm", "said"),
    [
        ("none", "no attention"),
        ("none,head=score", "no attention (head=score)"),
        ("wider", "a wider network"),
        ("wider:time", "a wider network of equal training time"),
        ("wider,divisor=4,where=stage", "a wider network (divisor=4, where=stage)"),
        ("saam,heads=4", "saam,heads=4"),
        ("se", "se"),
    ],
)
def test_arms_read_well(arm: str, said: str) -> None:
    assert named(arm) == said


class Failed(NamedTuple):
    arm: str
    seed: int
    error: str


def test_failed_runs_are_named() -> None:
    runs = [Failed("se", seed, error) for seed, error in enumerate(["out of memory\nTraceback", "", "x", "y", "z"])]
    assert failed_runs([], 28) == ""
    assert failed_runs(runs[:1], 28) == "1 of 28 runs failed: se, seed 0: out of memory"
    assert failed_runs(runs, 28) == (
        "5 of 28 runs failed: se, seed 0: out of memory; se, seed 1: no message; se, seed 2: x; and 2 more"
    )


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([difference("none", "better"), difference("se", "better")], "saam is better than no attention and se"),
        (
            [difference("none", "better"), difference("se"), difference("eca"), difference("gc", "worse")],
            "saam is better than no attention and worse than gc; six seeds cannot tell it from se or eca yet",
        ),
        (
            [difference("none"), difference("se", n=3), difference("gc")],
            "Six seeds cannot tell saam from no attention, se or gc yet",
        ),
        (
            [difference("wider", "equivalent"), difference("se", "better")],
            "saam is better than se and equivalent to a wider network",
        ),
        ([difference("se", n=0)], "saam against se and gc: no pair of runs is finished yet"),
    ],
)
def test_the_finding(differences: list[Difference], expected: str) -> None:
    assert finding("saam", differences, ["se", "gc"]) == expected


def test_the_finding_begins_like_a_sentence() -> None:
    assert finding("wider", [difference("none", "better", arm="wider")], ["none"]) == (
        "A wider network is better than no attention"
    )
    assert finding("a", [difference("b", "better", arm="a")], ["b"]) == "a is better than b"


def test_the_finding_of_a_lonely_arm() -> None:
    assert finding("none", [], []) == "No attention alone: there is no other arm to compare it with"


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([0.926, 0.214, 0.5], ".21 to .93"),
        ([0.999, 0.84], ".84 to 1.00"),
        ([0.4], ".40"),
        ([1.0, 0.9996], "1.00"),
    ],
)
def test_a_range_of_shares(shares: list[float], expected: str) -> None:
    assert value_range(shares) == expected


@pytest.mark.parametrize(
    ("arm", "shares", "expected"),
    [
        ("saam", [0.93, 0.21], "scores used, share of pixels .21 to .93 (1 = mean pooling)"),
        ("saam", [0.99, 0.95], "scores used, share of pixels .95 to .99 (1 = mean pooling)"),
        ("none,head=score", [0.4], "scores used, share of pixels .40 (1 = mean pooling)"),
        (
            "saam,heads=4",
            [1.0, 0.951],
            "pooling unlearned, every site uses more than 95\N{NO-BREAK SPACE}% of the pixels; it is an se in effect",
        ),
        (
            "eca,squeeze=score",
            [0.951],
            "pooling unlearned, its site uses more than 95\N{NO-BREAK SPACE}% of the pixels; "
            "it is mean pooling in effect",
        ),
    ],
)
def test_how_much_an_arm_uses_its_scores(arm: str, shares: list[float], expected: str) -> None:
    assert score_note(arm, shares) == f"{arm}: {expected}"


NEVER = "changes its map by less than 5\N{NO-BREAK SPACE}%; train longer, or let new parameters learn faster"
STATIC = "the factors of the channels are constants"


@pytest.mark.parametrize(
    ("changes", "images", "expected"),
    [
        ([0.0, 0.05], [0.0, 0.01], ""),
        ([0.0, 0.05], [], ""),
        ([0.0, 0.049], [0.5, 0.5], f"attention never left the identity, every site {NEVER}"),
        ([0.01], [0.0], f"attention never left the identity, its site {NEVER}"),
        ([0.0, 0.9], [0.0, 0.009], f"attention does not depend on the image, at every site {STATIC}"),
        ([0.9], [0.0], f"attention does not depend on the image, at its site {STATIC}"),
    ],
)
def test_an_attention_that_does_nothing_or_always_the_same(
    changes: list[float], images: list[float], expected: str
) -> None:
    assert gate_note(changes, images) == expected


def test_costs_that_were_measured_beside_other_work() -> None:
    assert noisy_costs({"none": 0.0, "se": 0.1}) == ""
    said = noisy_costs({"none": 0.0, "se": 0.3, "saam": 0.11})
    assert said.startswith("the times of se and saam vary by more than .10 from round to round")
    assert "delete costs.json" in said
