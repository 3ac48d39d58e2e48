import io
from dataclasses import replace

import pytest
from rich.console import Console

from report.fakes import comparison, cost, first, plan, record, with_use
from saam.comparison import Comparison
from saam.comparison.records import FailureRecord
from saam.report import table
from saam.report.overview import overview

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"


def printed(shown: Comparison, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(shown))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_cells_hold_what_the_records_say() -> None:
    planned = plan(arms=("none", "saam"), seeds=2)
    scores = {("none", 0): (80.0, 0.5), ("none", 1): (82.0, 0.4), ("saam", 0): (80.5, 0.45), ("saam", 1): (83.5, 0.33)}
    runs = tuple(record(arm, seed, *scores[arm, seed]) for arm, seed in planned.schedule())
    text = printed(Comparison(planned, runs, (cost("none", 0), cost("saam", 3))))
    saam = next(line for line in text.splitlines() if line.startswith("saam")).split()
    assert saam == [
        "saam",
        "2/2",
        "82.00",
        "+1.00",
        ".50",
        "0.390",
        "80.2k",
        f"1.27{TIMES}",
        f"1.15{TIMES}",
        "cannot",
        "tell",
        "yet",
    ]
    below = text.splitlines()[text.splitlines().index(next(x for x in text.splitlines() if x.startswith("saam"))) + 1]
    assert f"{MINUS}0.060" in below  # log-loss
    assert "too few seeds" in below  # accuracy
    assert "reference" in next(line for line in text.splitlines() if line.startswith("none"))
    assert "resnet8 on photo-digits: 4 of 4 runs" in text
    changed = replace(runs[-1], test={**runs[-1].test, "accuracy": 84.5})
    assert "82.50" in printed(Comparison(planned, (*runs[:-1], changed), ()))


@pytest.mark.parametrize("runs", [0, 1, 5, 13, 32])
def test_a_partial_comparison_fits_the_screen(runs: int) -> None:
    whole = comparison(arms=("none", "se", "cbam-channel", "saam,heads=4,kernel_size=3,scorer=pixel"), seeds=8)
    text = printed(first(whole, runs))
    assert max(map(len, text.splitlines())) <= 100
    assert f"{runs} of 32 runs" in text
    assert f"{(runs + 3) // 4}/8" in text
    assert ("…" in text) is True  # no costs yet
    assert "1.09" + TIMES in printed(first(whole, runs, costs=True))


def test_a_whole_comparison_misses_nothing() -> None:
    whole = comparison(arms=("none", "se", "saam"), seeds=8)
    text = printed(whole)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert "better" in text


def test_an_arm_breaks_between_its_options_only() -> None:
    arms = ("none", "eca,squeeze=score", "saam,heads=4,kernel_size=3,scorer=pixel")
    for width in (80, 100):
        first_words = [
            line.split()[0] for line in printed(comparison(arms=arms, seeds=8), width).splitlines() if line[0] != " "
        ]
        assert [word for word in first_words if "=" in word or word in ("none", "eca,")] == [
            *("none", "eca,", "squeeze=score"), *("saam,heads=4,", "kernel_size=3,", "scorer=pixel")
        ]  # fmt: skip


def test_a_narrow_screen_leaves_out_columns_and_breaks_no_number() -> None:
    whole = comparison(arms=("none", "eca,squeeze=score", "saam,heads=4,kernel_size=3,scorer=pixel"), seeds=8)
    wide, narrow, least = printed(whole, 110), printed(whole, 80), printed(whole, 70)
    assert max(map(len, narrow.splitlines())) <= 80
    assert max(map(len, least.splitlines())) <= 70
    for word in ("cannot tell yet", "reference", "fixed n", "any n", "more seed"):
        assert all(word in text for text in (wide, narrow, least))
    for run in overview(whole).rows:
        assert all(f"{run.scores['accuracy'].mean:.2f}" in text for text in (wide, narrow, least))
        assert all(f" {run.scores['accuracy'].low:.2f} to " in text for text in (wide, narrow, least))
    assert ("params" in wide, "params" in narrow) == (True, False)
    assert ("log-loss" in wide, "log-loss" in narrow) == (True, False)
    assert ("p Holm" in narrow, "p Holm" in least) == (True, False)
    assert (TIMES in wide, TIMES in narrow) == (True, False)
    assert "log-loss" in printed(comparison(seeds=8), 80)  # short arms leave room


def test_a_verdict_says_its_sequence_or_how_long_it_will_take() -> None:
    whole = comparison(seeds=8)
    lines = printed(whole, 80).splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("saam"))
    evidence = overview(whole).rows[-1].differences["accuracy"].evidence
    assert lines[place].endswith("better")
    assert lines[place + 1].endswith(f"{evidence.low:.2f} to {evidence.high:.2f}")
    eca = next(number for number, line in enumerate(lines) if line.startswith("eca"))
    more = overview(whole).rows[2].differences["accuracy"].evidence.more_seeds
    assert lines[eca + 1].endswith(f"~{more} more seeds")


def test_failed_runs_stand_in_the_table_and_below() -> None:
    failed = FailureRecord("id", "saam", 2, "out of memory", "", {}, "")
    whole = replace(first(comparison(seeds=3), 11), failures=(failed,))
    lines = printed(whole, 80).splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("saam"))
    assert " 2/3 " in lines[place]
    assert " 1 failed " in lines[place + 1]
    assert "1 of 12 runs failed: saam, seed 2: out of memory" in [line.rstrip() for line in lines]


def test_the_spread_of_a_ratio_stands_under_it() -> None:
    whole = comparison(seeds=2)
    assert "± " not in printed(whole, 110)
    for each in whole.costs:
        object.__setattr__(each, "train_step_ratio_spread", 0.021)
    assert "± .02 " in printed(whole, 110)


def test_a_long_reference_does_not_widen_the_table() -> None:
    long = "saam,heads=4,kernel_size=3,scorer=pixel"
    text = printed(comparison(arms=(long, "se"), seeds=3, reference=long))
    assert max(map(len, text.splitlines())) <= 100
    assert "vs reference" in text


def test_labels_are_text_and_not_markup() -> None:
    planned = plan(arms=("none", "[red]x"), seeds=1, aliases={"[red]x": "saam"})
    runs = tuple(record(arm, seed, 80.0, 0.5, data="[bold]digits[/bold]") for arm, seed in planned.schedule())
    text = printed(Comparison(planned, runs, ()))
    assert "[bold]digits[/bold]" in text
    assert "[red]x" in text


def test_the_use_of_the_scores_stands_under_the_table() -> None:
    planned = plan(arms=("none", "saam"), seeds=1)
    runs = (
        record("none", 0, 80.0, 0.5),
        with_use(record("saam", 0, 80.0, 0.5), {"layer1": (0.931, 1.2), "layer2": (0.208, 9.0)}),
    )
    last = printed(Comparison(planned, runs, ()), 80).rstrip().splitlines()[-1]
    assert last.rstrip() == "saam: scores used, share of pixels .21 to .93 (1 = mean pooling)"
