import io
from dataclasses import replace

import pytest
from rich.console import Console

from report.fakes import comparison, cost, first, plan, record, with_use
from saam.comparison import Comparison
from saam.report import table

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
    whole = comparison(arms=("none", "se", "saam,heads=4,kernel_size=3,scorer=pixel"), seeds=8)
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


def test_a_narrow_screen_leaves_out_the_costs_and_nothing_else() -> None:
    whole = comparison(arms=("none", "eca,squeeze=score", "saam,heads=4,kernel_size=3,scorer=pixel"), seeds=8)
    wide, narrow = printed(whole, 100), printed(whole, 80)
    assert max(map(len, narrow.splitlines())) <= 80
    for word in ("cannot tell", "reference", "better", "(Holm)", "log-loss"):
        assert word in wide
        assert word in narrow
    assert "…" not in narrow
    assert ("params" in wide, "params" in narrow) == (True, False)
    assert TIMES in wide
    assert TIMES not in narrow


def test_a_long_reference_does_not_widen_the_table() -> None:
    long = "saam,heads=4,kernel_size=3,scorer=pixel"
    text = printed(comparison(arms=(long, "se"), seeds=3, reference=long))
    assert max(map(len, text.splitlines())) <= 100
    assert "vs reference" in text


def test_labels_are_text_and_not_markup() -> None:
    planned = plan(arms=("none", "saam,scorer=[red]x"), seeds=1)
    runs = tuple(record(arm, seed, 80.0, 0.5, data="[bold]digits[/bold]") for arm, seed in planned.schedule())
    text = printed(Comparison(planned, runs, ()))
    assert "[bold]digits[/bold]" in text
    assert "scorer=[red]x" in text.replace("\n", "").replace(" ", "")


def test_the_use_of_the_scores_stands_under_the_table() -> None:
    planned = plan(arms=("none", "saam"), seeds=1)
    runs = (
        record("none", 0, 80.0, 0.5),
        with_use(record("saam", 0, 80.0, 0.5), {"layer1": (0.931, 1.2), "layer2": (0.208, 9.0)}),
    )
    last = printed(Comparison(planned, runs, ()), 80).rstrip().splitlines()[-1]
    assert last.rstrip() == "saam: scores used, share of pixels .21 to .93 (1 = mean pooling)"
