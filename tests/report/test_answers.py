import pytest
import torch

from report.fakes import plan, record
from saam.comparison import Comparison
from saam.report.answer_charts import answer_charts
from saam.report.answers import ClassDifference, Confusion, answers, shown_classes
from saam.report.charts import Chart
from saam.report.overview import overview
from saam.report.page import html

LABELS = torch.tensor([0.0, 0, 1, 1, 1, 1])


def scores(*predicted: int) -> dict[str, torch.Tensor]:
    guesses = torch.tensor(predicted).float()
    return {"labels": LABELS, "predicted": guesses, "confidence": torch.full((6,), 0.6)}


def compared(**changes: object) -> Comparison:
    planned = plan(arms=("none", "saam"), seeds=2)
    runs = tuple(record(arm, seed, 80.0, 0.5) for arm, seed in planned.schedule())
    return Comparison(planned, runs, (), **{"classes": 3, "class_names": ("cat", "dog", "<b>"), **changes})


SCORES = {
    ("none", 0): scores(0, 1, 1, 1, 0, 0),  # cat 50 %, dog 50 %
    ("none", 1): scores(0, 0, 1, 1, 1, 2),  # cat 100 %, dog 75 %
    ("saam", 0): scores(0, 0, 1, 1, 1, 0),  # cat 100 %, dog 75 %
    ("saam", 1): scores(0, 0, 1, 1, 1, 1),  # cat 100 %, dog 100 %
}


def test_classes_by_hand() -> None:
    """Cat gains 50 and 0 points, dog 25 and 25; the class without images is left out."""
    found = answers(SCORES, compared())
    assert found is not None
    cat, dog = found.by_class("saam", "none")
    assert cat == ClassDifference("cat", 2, 75.0, 25.0, pytest.approx(50 / 2**0.5))
    assert dog == ClassDifference("dog", 4, 62.5, 25.0, 0.0)


def test_confusions_by_hand() -> None:
    """Of the dogs of none, 50 % and 0 % are taken for cats, 0 and 25 % for the third; of saam 25 and 0 % for cats."""
    found = answers(SCORES, compared())
    assert found is not None
    assert found.confusions("none", "saam") == [
        Confusion("cat", "dog", 25.0, 0.0),
        Confusion("dog", "cat", 25.0, 12.5),
        Confusion("dog", "<b>", 12.5, 0.0),
    ]
    assert found.confusions("saam", "none", most=1) == [Confusion("dog", "cat", 12.5, 25.0)]


def test_confusions_of_very_many_classes_take_no_table_of_all_pairs() -> None:
    count = 500_000
    found = answers(SCORES, compared(classes=count, class_names=tuple(map(str, range(count)))))
    assert found is not None
    assert found.confusions("none", "saam", most=1) == [Confusion("0", "1", 25.0, 0.0)]


def test_calibration_is_over_the_images_of_all_seeds() -> None:
    found = answers(SCORES, compared())
    assert found is not None
    groups = found.reliability("none")
    assert groups.count.sum() == 12
    assert groups.accuracy.max() == 8 / 12


def test_seeds_that_one_arm_lacks_are_left_out_of_differences() -> None:
    found = answers({run: values for run, values in SCORES.items() if run != ("saam", 0)}, compared())
    assert found is not None
    assert [each.mean for each in found.by_class("saam", "none")] == [25.0, 0.0]
    assert [each.spread for each in found.by_class("saam", "none")] == [0.0, 0.0]


def test_without_names_classes_have_numbers() -> None:
    found = answers(SCORES, compared(class_names=()))
    assert found is not None
    assert found.names == ("class 0", "class 1", "class 2")


def test_what_does_not_fit_together_gives_no_answers() -> None:
    changed = {**SCORES, ("saam", 1): {**SCORES["saam", 1], "labels": LABELS.flip(0)}}
    wide = {**SCORES, ("saam", 1): {**SCORES["saam", 1], "predicted": torch.full((6,), 3.0)}}
    old = {run: {"accuracy": torch.zeros(6)} for run in SCORES}
    for values in (changed, wide, old, {}, {run: values for run, values in SCORES.items() if run[0] == "none"}):
        assert answers(values, compared()) is None
    assert answers(SCORES, compared(classes=None)) is None
    assert answers(SCORES, compared(classes=2)) is None


def test_a_run_without_finite_confidence_is_left_out() -> None:
    broken = {**SCORES["saam", 0], "confidence": torch.full((6,), torch.nan)}
    found = answers({**SCORES, ("saam", 0): broken}, compared())
    assert found is not None
    assert list(found.predicted["saam"]) == [1]


def test_of_many_classes_the_ends_are_shown() -> None:
    every = [ClassDifference(str(place), 1, 0.0, -place, 0.0) for place in range(21)]
    assert [int(each.name) for each in shown_classes(every)] == [*range(10), *range(11, 21)]
    assert shown_classes(every[:20]) == every[:20]


def test_the_page_shows_them_escaped() -> None:
    whole = compared()
    found = answers(SCORES, whole)
    assert found is not None
    drawn: list[Chart] = answer_charts(overview(whole), found)
    assert [chart.section for chart in drawn] == ["classes", "calibration"]
    page = html(whole, found=found)
    assert '<section id="classes">' in page
    assert '<section id="calibration">' in page
    assert "&lt;b&gt;" in html(compared(), found=answers({**SCORES, ("saam", 0): scores(2, 2, 2, 2, 2, 2)}, whole))
    assert '<td class="text"><b></td>' not in page
    assert '<section id="classes">' not in html(whole)
