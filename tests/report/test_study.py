"""The page and the table of a study: escaped, with links that lead to its comparisons, at any width."""

import re
from dataclasses import replace

import pytest
from rich.console import Console

from report.fakes import comparison, first
from saam.comparison import FailureRecord
from saam.comparison.study import Study
from saam.report.study import study_html, study_table, study_view, write_study_report

ARMS = ("none", "se", "eca", "saam")


def study(**changes):
    values = {
        "models": ("resnet20", "resnet8"),
        "data": ("cifar100", "cifar10"),
        "arms": ARMS,
        "seeds": 8,
        "recipe": "demo",
        "title": "Arms & <b>data</b>",
        "notes": "<script>alert(1)</script>",
    }
    return Study(**{**values, **changes})


@pytest.fixture
def results():
    failure = FailureRecord("0" * 16, "se", 7, "ValueError: <img src=x>", "", {}, "")
    cells = {name: comparison(arms=ARMS) for name in study().cells()}
    part = cells["cifar10-resnet8"]
    cells["cifar10-resnet8"] = replace(first(part, 21, costs=True), failures=(failure,))
    return cells


def test_what_comes_from_elsewhere_is_escaped(results):
    page = study_html(study(), results)
    assert "Arms &amp; &lt;b&gt;data&lt;/b&gt;" in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;img src=x&gt;" in page
    assert not re.search(r"<script|<img|<b>data", page)


def test_labels_with_markup_are_escaped_on_the_page_and_plain_in_the_terminal(results):
    label = "[red]<i>se</i>"
    plan = comparison(arms=ARMS).plan
    renamed = replace(plan, arms=("none", label, "eca", "saam"), aliases={label: "se"})

    def rename(record):
        return replace(record, arm=label) if record.arm == "se" else record

    cells = {
        name: replace(each, plan=renamed, records=tuple(map(rename, each.records))) for name, each in results.items()
    }
    page = study_html(study(), cells)
    assert "[red]&lt;i&gt;se&lt;/i&gt;" in page
    assert "<i>se" not in page
    console = Console(width=200)
    with console.capture() as capture:
        console.print(study_table(cells))
    assert label in capture.get()


def test_each_comparison_is_linked_and_each_arm_has_a_row(results):
    page = study_html(study(), results)
    assert set(re.findall(r'href="([^"]+)/report\.html"', page)) == set(results)
    assert re.findall(r'<th scope="row">([^<]+)</th>', page) == list(study_view(results).arms)
    ((focus,),) = [re.findall(r'class="focus">\s*<th scope="row">([^<]+)<', page)]
    assert focus == "saam"


def test_numbers_are_those_of_the_view(results):
    view = study_view(results)
    assert view.arms[0] == "saam"
    assert view.summary.cells == tuple(results)
    page = study_html(study(), results)
    assert f"{3 * 32 + 21} of {4 * 32}" in page
    assert "1 of 32 runs failed: se, seed 7" in page
    best = view.summary.arms[0]
    assert f"<td>{best.rank:.1f}</td>" in page
    assert f"+{best.mean:.2f}" in page
    difference = view.cells["cifar100-resnet20"].rows[3].differences["accuracy"]
    assert f'<small class="{difference.verdict.replace(" ", "-")}">+{difference.mean:.2f}, {difference.verdict}' in page


def test_the_headline_says_whether_the_arms_differ(results):
    assert re.fullmatch(
        r"saam has the best average rank, 1\.0 of 4 arms; over 4 comparisons the arms differ \(Friedman, p .*\)",
        study_view(results).finding,
    )
    single = dict(list(results.items())[:1])
    assert study_view(single).finding == "saam has the best average rank, 1.0 of 4 arms, in a single comparison"
    ((name, one),) = single.items()
    tied = replace(one, records=tuple(replace(record, test={"accuracy": 50.0, "loss": 1.0}) for record in one.records))
    finding = "no attention, se, eca and saam share the best average rank, 2.5 of 4 arms, in a single comparison"
    assert study_view({name: tied}).finding == finding
    none = {name: first(each, 0) for name, each in results.items()}
    assert study_view(none).finding == "No comparison has a run of every arm yet"
    assert "No comparison has a run" in study_html(study(), none)


@pytest.mark.parametrize("runs", [1, 2, 5])
def test_a_study_that_has_just_begun(results, runs):
    begun = {name: first(each, runs if place == 0 else 0) for place, (name, each) in enumerate(results.items())}
    page = study_html(study(), begun)
    assert f"{runs} of 128" in page
    assert "nan" not in page
    with Console(width=80).capture():
        study_table(begun)


def test_the_page_needs_no_other_file_and_fits_a_phone(results, tmp_path):
    write_study_report(tmp_path / "report.html", study(title=""), results)
    page = (tmp_path / "report.html").read_text()
    assert "default-src 'none'" in page
    assert 'name="viewport"' in page
    assert not re.search(r'(src|href)="(?!data:|[\w=.-]+/report\.html")', page)
    assert page.index('<div class="scroll"') < page.index("<table")
    assert "<title>Study: " in page
