import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import saam.report.page
from report.fakes import comparison, cost, first, plan, record, with_use
from saam.comparison import Comparison, TaskPlan
from saam.comparison.crossed import crossed_interval
from saam.comparison.metrics import Metric
from saam.comparison.records import FailureRecord
from saam.explain import ScoreMapStrip
from saam.report import html, write_report
from saam.report.charts import charts
from saam.report.overview import overview

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
VOID = {"meta", "link", "img", "br", "wbr"}


class Page(HTMLParser):
    """The elements of a page with their text; scripts apart."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.cells: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(source)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "script":
            self.scripts[-1] += data
        elif self._open and self._open[-1] != "style":
            self.text += data
            if "td" in self._open or "th" in self._open:
                self.cells[-1][-1] += data + " "

    def row(self, name: str) -> list[str]:
        """The first row of a table whose first cell begins with a name."""
        return next([" ".join(cell.split()) for cell in row] for row in self.cells if row[0].split()[:1] == [name])

    def specs(self) -> list[dict[str, Any]]:
        return json.loads(self.scripts[1])  # type: ignore[no-any-return]


@pytest.fixture
def no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the megabyte of Vega, which is slow to make, where a test does not need it."""
    monkeypatch.setattr(saam.report.page, "_bundle", lambda: "bundle")


STRIP = ScoreMapStrip(b"picture", 400, 300, "saam, seed 0", ("layer1", "layer2"), (2.0, 3.5))


@pytest.mark.usefixtures("no_bundle")
def test_numbers_come_from_the_records() -> None:
    whole = comparison(seeds=3)
    page = Page(html(whole))
    runs = {(each.arm, each.seed): each.test for each in whole.records}
    mean = sum(runs["saam", seed]["accuracy"] for seed in range(3)) / 3
    gain = sum(runs["saam", seed]["accuracy"] - runs["none", seed]["accuracy"] for seed in range(3)) / 3
    loss = sum(runs["saam", seed]["loss"] for seed in range(3)) / 3
    row = page.row("saam")
    assert row[0] == "saam 3 of 3 runs"
    assert row[1].startswith(f"{mean:.2f} ")
    assert row[2].startswith(f"+{gain:.2f} ")
    more = overview(whole).rows[-1].differences["accuracy"].evidence.more_seeds
    assert row[3] == f"cannot tell yet too few seeds about {more} more seeds"
    assert row[4].startswith(f"{loss:.3f} ")
    assert row[7] == "80,220 +2,370"
    assert row[9] == "1.27\N{MULTIPLICATION SIGN} 77.9 ms"
    assert f"+{gain:.2f} points" in page.text
    better = {"accuracy": runs["saam", 2]["accuracy"] + 3, "loss": 0.1234, "count": 10000}
    changed = [replace(each, test=better) if (each.arm, each.seed) == ("saam", 2) else each for each in whole.records]
    page = Page(html(replace(whole, records=tuple(changed))))
    assert page.row("saam")[1].startswith(f"{mean + 1:.2f} ")
    assert f"+{gain + 1:.2f} points" in page.text
    assert any("0.1234" in cell for row in page.cells for cell in row)
    assert any(point["value"] == 0.1234 for point in page.specs()[1]["layer"][0]["data"]["values"])


@pytest.mark.usefixtures("no_bundle")
def test_the_headline_answers_in_words() -> None:
    assert "<h1>Three seeds cannot tell saam from no attention, se or eca yet.</h1>" in html(comparison(seeds=3))
    assert "<h1>saam is better than no attention, se and eca.</h1>" in html(comparison(seeds=8))


@pytest.mark.usefixtures("no_bundle")
def test_every_run_is_listed_also_those_that_are_missing() -> None:
    page = Page(html(first(comparison(seeds=3), 5)))
    listed = [row for row in page.cells if len(row) == 10 and row[0].strip().isdigit()]
    assert len(listed) == 12
    assert sum(row[2].strip() == "…" for row in listed) == 7


@pytest.mark.usefixtures("no_bundle")
@pytest.mark.parametrize("runs", [0, 1, 2, 6])
@pytest.mark.parametrize("costs", [False, True])
def test_partial_comparisons_are_pages_too(runs: int, costs: bool) -> None:
    page = Page(html(first(comparison(seeds=2), runs, costs=costs)))
    assert f"Not finished: {runs} of 8 runs" in page.text
    assert ("…" in page.row("saam")) == (runs < 6 or not costs)
    places = [attributes["data-chart"] for _, attributes in page.elements if "data-chart" in attributes]
    assert places == [str(number) for number in range(len(places))]
    assert len(places) == (len(page.specs()) if runs else 0)


@pytest.mark.usefixtures("no_bundle")
def test_the_strip_is_on_the_page() -> None:
    assert "Where the scores look" not in html(comparison(seeds=2))
    page = Page(html(comparison(seeds=2), strip=STRIP))
    image = next(attributes for tag, attributes in page.elements if tag == "img")
    assert image["src"] == "data:image/png;base64,cGljdHVyZQ=="
    assert image["alt"] == "Test images with the score maps of layer1 and layer2"
    assert "saam, seed 0" in page.text
    assert "the label of a row gives the weight of the brightest pixels" in " ".join(page.text.split())


def learned(whole: Comparison, *arms: str) -> Comparison:
    """The comparison with scores that move in these arms."""
    uses = [{f"layer{site}.0": (1 - 0.02 * epoch * site, 1.0 + epoch) for site in (1, 2, 3)} for epoch in range(12)]
    return replace(whole, records=tuple(with_use(run, *uses) if run.arm in arms else run for run in whole.records))


@pytest.mark.usefixtures("no_bundle")
def test_the_use_of_the_scores_is_on_the_page() -> None:
    plain, page = Page(html(comparison(seeds=2))), Page(html(learned(comparison(seeds=2), "saam")))
    note = "saam: scores used, share of pixels .34 to .78 (1 = mean pooling)"
    for words in ("How much the scores are used", "saam: pixels used by site", note):
        assert words in page.text
        assert words not in plain.text
    labels = [attributes["aria-label"] for _, attributes in page.elements if "data-chart" in attributes]
    assert labels[-1] == "saam: pixels used by site"
    assert page.specs()[-1]["layer"][2]["encoding"]["y"]["field"] == "share"
    assert len(page.specs()) == len(plain.specs()) + 1
    assert "Drawn are" not in page.text


@pytest.mark.usefixtures("no_bundle")
def test_the_page_says_that_not_all_arms_with_scores_are_drawn() -> None:
    arms = tuple(f"saam,temperature={1 + place}.0" for place in range(9))
    page = Page(html(learned(comparison(arms=("none", *arms), seeds=1), *arms)))
    assert "Drawn are 8 of 9 arms with scores." in " ".join(page.text.split())


@pytest.mark.usefixtures("no_bundle")
def test_an_arm_breaks_between_its_options() -> None:
    assert '<th scope="row">eca,<wbr>squeeze=score<small>' in html(
        comparison(arms=("none", "eca,squeeze=score"), seeds=2)
    )


@pytest.mark.usefixtures("no_bundle")
def test_where_there_is_no_strip_the_page_says_why() -> None:
    page = Page(html(comparison(seeds=2), no_strip="No pictures: <b>gone</b>"))
    assert "Where the scores look" in page.text
    assert "No pictures: <b>gone</b>" in page.text
    assert not [tag for tag, _ in page.elements if tag == "img"]


@pytest.mark.usefixtures("no_bundle")
def test_intervals_and_power_are_told_from_enough_seeds_on() -> None:
    few, enough = html(comparison(seeds=5)), html(comparison(seeds=7))
    assert "<small>too few seeds</small>" in few
    assert "Smallest difference" not in few
    assert "confidence sequence" not in few.split("<main>")[0]
    assert "too few seeds" not in enough
    assert "Smallest difference" in enough
    assert "95 % confidence sequence" in enough.split("<main>")[0]


@pytest.mark.usefixtures("no_bundle")
def test_the_method_is_told() -> None:
    whole = comparison(seeds=2)
    other = replace(whole.records[-1], environment={**whole.records[-1].environment, "platform": "Plan 9"})
    page = Page(html(replace(whole, records=(*whole.records[:-1], other))))
    assert '"epochs": 12' in page.text
    assert "saam compare --data photo-digits" in page.text
    assert page.row("platform")[1] == "Linux / Plan 9"
    assert "seeds 0 and 1" in " ".join(page.text.split())


@pytest.mark.usefixtures("no_bundle")
def test_nothing_from_outside_is_markup() -> None:
    planned = plan(("none", EVIL), 2, model=EVIL, data_options={EVIL: EVIL}, aliases={EVIL: "saam"})
    changes = {"data": EVIL, "environment": {EVIL: EVIL}, "finished": EVIL, "id": EVIL}
    runs = tuple(record(planned.arms[i], seed, 80.0 + i, 0.5, **changes) for seed in range(2) for i in range(2))
    strip = replace(STRIP, title=EVIL, sites=(EVIL,))
    evil, good = (
        Page(html(Comparison(planned, runs, ()), strip=strip)),
        Page(html(comparison(arms=("none", "saam"), seeds=2), strip=STRIP)),
    )
    assert [tag for tag, _ in evil.elements if tag in ("script", "img")] == ["img", "script", "script", "script"]
    assert not any(name.startswith("on") for _, attributes in evil.elements for name in attributes)
    assert EVIL in evil.text
    assert evil.scripts[0] == good.scripts[0]
    assert evil.scripts[2] == good.scripts[2]
    names = {point["arm"] for point in evil.specs()[0]["layer"][0]["data"]["values"]}
    assert names == {"none", planned.arms[1]}


def test_the_page_loads_nothing() -> None:
    source = html(comparison(seeds=2), strip=STRIP)
    page = Page(source)
    for tag, attributes in page.elements:
        assert tag not in ("iframe", "object", "embed", "base", "video", "audio", "source")
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
    styles = "".join(re.findall(r"<style>(.*?)</style>", source, re.S))
    assert "url(" not in styles
    assert "@import" not in styles
    policy = next(attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert len(page.scripts[0]) > 500_000  # Vega itself
    assert "vegaEmbed" in page.scripts[0]


@pytest.mark.usefixtures("no_bundle")
def test_a_report_is_written(tmp_path: Path) -> None:
    whole = comparison(seeds=2)
    write_report(tmp_path / "report.html", whole, strip=STRIP)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == html(whole, strip=STRIP)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


METRICS = (
    Metric("iou", "higher", spread=0.01, delta=0.01, high=1.0, digits=3),
    Metric("hausdorff", "lower", spread=0.2, delta=0.1, unit="mm", digits=1),
)


def task() -> Comparison:
    """A comparison that is no classification: no model, data or recipe, and metrics of its own; a run has failed."""
    planned = TaskPlan(
        task="nuclei:segment", arms=("none", "wider:time", "saam"), seeds=tuple(range(8)), metrics=METRICS
    )
    runs = []
    for arm, seed in planned.schedule()[:-1]:
        place = planned.arms.index(arm)
        scores = {"iou": 0.7 + 0.02 * place + 0.001 * ((seed + place) % 3), "hausdorff": 8 - place - 0.01 * seed}
        curve = tuple({"epoch": epoch, "validation_iou": 0.1 * epoch} for epoch in (1, 2, 3))
        runs.append(record(arm, seed, 0, 0, test=scores, validation={}, curve=curve, model="", data=""))
    failed = FailureRecord("id", "saam", 7, f"out of memory {EVIL}", "", {}, "")
    return Comparison(planned, tuple(runs), (), failures=(failed,))


@pytest.mark.usefixtures("no_bundle")
def test_a_task_of_ones_own_is_a_page_too() -> None:
    page = Page(html(task()))
    text = " ".join(page.text.split())
    assert "saam is better than no attention and a wider network of equal training time" in text
    assert "Channel attention compared · segment" in text
    assert "Iou: higher is better; expected spread of a difference 0.010, equivalent within ±0.010." in text
    assert "Hausdorff: lower is better; expected spread of a difference 0.2 mm, equivalent within ±0.1." in text
    for absent in ("accuracy", "Accuracy", "log-loss", "Recipe", "Reproduce", "Test images", "Epochs"):
        assert absent not in text
    assert page.cells[0] == ["", "Iou ", "Hausdorff, mm "]
    row = page.row("saam")
    assert row[0] == "saam 7 of 8 runs, 1 failed"
    assert (row[3].split()[0], row[6].split()[0]) == ("better", "better")
    labels = [attributes["aria-label"] for _, attributes in page.elements if "data-chart" in attributes]
    assert labels == ["Iou", "Hausdorff", "Iou", "Hausdorff", "Iou", "Hausdorff", "Validation iou"]
    titles = [spec["layer"][0]["encoding"]["x"]["title"] for spec in page.specs()[:4]]
    assert titles == [
        *("test iou", "test hausdorff (mm), lower is better"),
        *("difference, right of zero is better", "difference (mm), left of zero is better"),
    ]


@pytest.mark.usefixtures("no_bundle")
def test_failed_runs_are_on_the_page() -> None:
    page = Page(html(task()))
    assert f"1 of 24 runs failed: saam, seed 7: out of memory {EVIL}" in page.text
    assert any(f"failed: out of memory {EVIL} " in row for row in page.cells)
    assert [tag for tag, _ in page.elements if tag == "script"] == ["script"] * 3
    assert "failed" not in Page(html(comparison(seeds=2))).text


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
@pytest.mark.parametrize("finished", [32, 7])
def test_a_browser_draws_every_chart(tmp_path: Path, finished: int) -> None:
    report = tmp_path / "report.html"
    shown = first(learned(comparison(), "saam"), finished, costs=finished == 32)
    write_report(report, shown)
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--virtual-time-budget=8000",
        "--window-size=1200,5000", "--dump-dom", report.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=True, env={**os.environ, "HOME": str(tmp_path)}
    )
    plots = done.stdout.count('data-chart="')
    assert plots == {32: 11, 7: 9}[finished]
    assert len(re.findall(r"<svg[^>]*class=\"marks\"", done.stdout)) == plots
    assert "could not be drawn" not in done.stdout.split("<script>")[0]
    assert "CONSOLE" not in done.stderr, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert ">saam \N{MINUS SIGN} se</text>" in done.stdout
    assert ">mean pooling</text>" in done.stdout
    drawn = Page(done.stdout).elements
    labels = [attributes["aria-label"] for _, attributes in drawn if "data-chart" in attributes]
    assert labels == [chart.title for chart in charts(overview(shown), shown.records)]


def test_a_difference_without_variance_has_no_share_of_the_images() -> None:
    tied, real = crossed_interval({0: [0.0, 0.0], 1: [0.0, 0.0]}), crossed_interval({0: [0.0, 3.0], 1: [1.0, 2.0]})
    shown = Page(html(comparison(seeds=8), images={"accuracy": {"se": tied, "saam": real}})).cells
    last = {row[0].strip(): row[-1].strip() for row in shown if len(row) == 7 and row[1].strip() == "accuracy"}
    assert last["se"] == "…"
    assert re.fullmatch(r"\d+\s%", last["saam"])


def test_five_hundred_runs_with_many_sites_stay_under_two_megabytes() -> None:
    arms = ("none", "wider", "se", "eca", "cbam-channel", "srm", "gct", "simam", "coord", "saam")
    planned = plan(arms=arms, seeds=50)
    sites = [f"layer{stage}.{block}.bn2" for stage in (1, 2, 3) for block in range(9)]
    gates = {site: {"change": 0.123456, "factor": 1.012345, "channels": 0.101234, "images": 0.012345} for site in sites}
    scores = {site: {"share": 0.712345, "lift": 2.012345} for site in sites}
    runs = []
    for place, (arm, seed) in enumerate(planned.schedule()):
        observed = {} if arm in ("none", "wider") else {"gate_use": gates}
        observed |= {"score_use": scores} if arm == "saam" else {}
        run = record(arm, seed, 80 + place / 100, 0.5 + place / 1000)
        curve = tuple({**run.curve[0], "epoch": epoch, "observed": observed} for epoch in range(1, 31))
        runs.append(replace(run, curve=curve))
    costs = tuple(cost(arm, place) for place, arm in enumerate(arms))
    assert len(html(Comparison(planned, tuple(runs), costs)).encode()) < 2_000_000


def test_tables_that_scroll_can_be_reached_from_the_keyboard() -> None:
    page = html(comparison(seeds=8))
    regions = re.findall(r'<div class="scroll[^>]*>', page)
    assert regions
    assert all('role="region"' in region and 'tabindex="0"' in region and "aria-label=" in region for region in regions)
    assert "<th></th>" not in page
