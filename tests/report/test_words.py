# ruff: noqa: RUF001  the signs are what is tested
import math

import pytest

from saam.comparison.statistics import Difference, Verdict
from saam.report.words import (
    at_chance,
    count,
    duration,
    few_images,
    finding,
    interval,
    number,
    p_value,
    ratio,
    score_note,
    seeds,
    share_range,
    signed,
    verdict_sentence,
)


def difference(reference: str, verdict: Verdict = "cannot tell", *, n: int = 6, **changes: float) -> Difference:
    values = {"mean": 0.31, "low": -0.05, "high": 0.68, "p": 0.06, "p_holm": 0.12, "minimum_detectable": 0.4} | changes
    return Difference("saam", reference, "accuracy", n, **values, values={}, verdict=verdict)


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
    assert interval(difference("se", mean=math.nan, **nothing)) == ""


def test_accuracy_within_noise_of_guessing_is_chance() -> None:
    best, guess = "14.20\N{NO-BREAK SPACE}%", "10.00\N{NO-BREAK SPACE}%"
    said = f"No arm learned better than chance: {best} at best, where guessing has {guess}"
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
    assert verdict_sentence(difference("se"), None) == (
        "saam vs se: +0.31 points (95 % interval −0.05 to 0.68), p = .12 after Holm: six seeds cannot tell"
    )
    assert verdict_sentence(difference("none", "better", n=20, p_holm=0.0002), None) == (
        "saam vs no attention: +0.31 points (95 % interval −0.05 to 0.68), p < .001 after Holm: 20 seeds say better"
    )
    assert verdict_sentence(difference("se", n=0), None) == "saam vs se: no seed is finished in both yet"
    assert verdict_sentence(difference("se", n=4, p_holm=1.0, low=math.nan, high=math.nan), None) == (
        "saam vs se: +0.31 points, p = 1.00 after Holm: four seeds cannot tell"
    )


def test_the_log_loss_speaks_where_it_says_otherwise() -> None:
    told = difference("se", "better", mean=-0.0123, p_holm=0.031)
    assert verdict_sentence(difference("se"), told).endswith("cannot tell; by log-loss better (−0.012, p = .031)")
    assert "log-loss" not in verdict_sentence(difference("se", "better"), told)
    assert "log-loss" not in verdict_sentence(difference("se"), difference("se"))


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([difference("none", "better"), difference("se", "better")], "saam is better than no attention and se"),
        (
            [difference("none", "better"), difference("se"), difference("eca"), difference("gc", "worse")],
            "saam is better than no attention and worse than gc; six seeds cannot tell it from se or eca",
        ),
        (
            [difference("none"), difference("se", n=3), difference("gc")],
            "Six seeds cannot tell saam from no attention, se or gc",
        ),
        ([difference("se", n=0)], "saam against se and gc: no pair of runs is finished yet"),
    ],
)
def test_the_finding(differences: list[Difference], expected: str) -> None:
    assert finding("saam", differences, ["se", "gc"]) == expected


def test_the_finding_of_a_lonely_arm() -> None:
    assert finding("none", [], []) == "no attention alone: there is no other arm to compare it with"


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
    assert share_range(shares) == expected


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
