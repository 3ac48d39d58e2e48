import json
import math
from dataclasses import replace
from typing import Any

import pytest

from report.fakes import comparison, cost, first, plan, record, records, with_use
from saam.comparison import Comparison
from saam.report.charts import Chart, charts
from saam.report.overview import overview


def drawn(shown: Comparison) -> dict[tuple[str, str], Chart]:
    return {(chart.section, chart.title): chart for chart in charts(overview(shown), shown.records)}


def values(chart: Chart, layer: int) -> list[dict[str, Any]]:
    owner = chart.spec["layer"][layer] if "data" in chart.spec["layer"][layer] else chart.spec
    return owner["data"]["values"]  # type: ignore[no-any-return]


def test_which_charts_there_are_at_each_stage() -> None:
    whole = comparison(seeds=3)
    everything = drawn(whole)
    assert [section for section, _ in everything] == [
        *("scores",) * 2, *("of_focus",) * 2, *("to_reference",) * 2, *("cost",) * 2, *("curves",) * 2
    ]  # fmt: skip
    assert {section for section, _ in drawn(first(whole, 5))} == {"scores", "of_focus", "to_reference", "curves"}
    assert {section for section, _ in drawn(first(whole, 1, costs=True))} == {"scores", "cost", "curves"}
    assert drawn(first(whole, 0, costs=True)) == {}


def test_one_family_where_the_focus_is_the_reference() -> None:
    sections = {section for section, _ in drawn(comparison(seeds=3, reference="saam"))}
    assert "of_focus" in sections
    assert "to_reference" not in sections


def test_every_run_is_a_point() -> None:
    whole = comparison(seeds=3)
    chart = drawn(whole)["scores", "Accuracy"]
    points = {(point["arm"], point["seed"]): point["value"] for point in values(chart, 0)}
    assert points == {(each.arm, each.seed): each.test["accuracy"] for each in whole.records}
    means = {mean["arm"]: mean for mean in values(chart, 1)}
    saam = [value for (arm, _), value in points.items() if arm == "saam"]
    assert means["saam"]["mean"] == pytest.approx(sum(saam) / 3)
    assert means["saam"]["low"] < means["saam"]["mean"] < means["saam"]["high"]


def test_differences_are_paired_by_seed_and_have_a_zero_line() -> None:
    whole = comparison(seeds=3)
    runs = {(each.arm, each.seed): each.test for each in whole.records}
    chart = drawn(whole)["of_focus", "Log-loss"]
    assert values(chart, 0) == [{"zero": 0}]
    label = "saam \N{MINUS SIGN} eca"
    points = {point["seed"]: point["value"] for point in values(chart, 1) if point["label"] == label}
    expected = {seed: runs["saam", seed]["loss"] - runs["eca", seed]["loss"] for seed in range(3)}
    assert points == pytest.approx(expected)
    reference = drawn(whole)["to_reference", "Log-loss"]
    assert {point["label"] for point in values(reference, 1)} == {
        f"{arm} \N{MINUS SIGN} none" for arm in ("se", "eca", "saam")
    }


def test_an_arm_has_one_colour_in_all_charts() -> None:
    whole = drawn(comparison(seeds=3))
    scales = []
    for chart in whole.values():
        scales += [layer["encoding"]["color"]["scale"] for layer in chart.spec["layer"] if "color" in layer["encoding"]]
    assert len(scales) > 12
    assert all(scale == scales[0] for scale in scales)
    assert len(set(scales[0]["range"])) == 4
    focus = {point["arm"] for point in values(whole["of_focus", "Accuracy"], 1)}
    reference = {point["arm"] for point in values(whole["to_reference", "Accuracy"], 1)}
    assert focus == {"none", "se", "eca"}
    assert reference == {"se", "eca", "saam"}


def test_curves_are_means_with_one_standard_deviation() -> None:
    planned = plan(arms=("saam",), seeds=3)
    first = {"epoch": 1, "validation_accuracy": 50.0, "validation_loss": 1.0, "train_loss": 2.0}
    runs = [record("saam", seed, 80.0, 0.5) for seed in range(3)]
    for seed, (accuracy, loss) in enumerate([(50.0, 1.0), (54.0, None), (58.0, math.nan)]):
        own = {**first, "validation_accuracy": accuracy, "validation_loss": loss}
        runs[seed] = replace(runs[seed], curve=(own, {**first, "epoch": 2}))
    whole = drawn(Comparison(planned, tuple(runs), ()))
    point, _ = values(whole["curves", "Validation accuracy"], 0)
    assert point == {
        "arm": "saam",
        "measure": "validation accuracy",
        "epoch": 1,
        "mean": 54.0,
        "low": 50.0,
        "high": 58.0,
    }
    losses = {
        point["measure"]: point["mean"]
        for point in values(whole["curves", "Validation log-loss"], 0)
        if point["epoch"] == 1
    }
    assert losses == {"validation loss": 1.0, "train loss": 2.0}


def test_a_single_epoch_makes_no_curve() -> None:
    planned = plan(arms=("saam",), seeds=2)
    runs = tuple(record("saam", seed, 80.0, 0.5, epochs=1) for seed in range(2))
    assert {section for section, _ in drawn(Comparison(planned, runs, ()))} == {"scores"}


def test_nothing_impossible_is_drawn() -> None:
    """Two seeds far apart: intervals, bands and axes end where scores do."""
    planned = plan(arms=("none", "saam"), seeds=2)
    runs = []
    for arm, seed in planned.schedule():
        accuracy, loss = (20.0, 2.0) if seed else (99.0, 0.02)
        curve = tuple(
            {"epoch": epoch, "validation_accuracy": accuracy, "validation_loss": loss, "train_loss": loss}
            for epoch in (1, 2)
        )
        runs.append(record(arm, seed, accuracy, loss, curve=curve))
    whole = drawn(Comparison(planned, tuple(runs), tuple(map(cost, planned.arms, (0, 1)))))

    def axis(section: str, title: str, channel: str) -> list[float]:
        encoding = whole[section, title].spec["layer"][1]["encoding"]
        return encoding[channel]["scale"]["domain"]  # type: ignore[no-any-return]

    assert axis("scores", "Accuracy", "x") == [0, 100]
    assert axis("scores", "Log-loss", "x")[0] == 0
    assert axis("cost", "Parameters", "y") == [0, 100]
    low, high = axis("curves", "Validation accuracy", "y")
    assert (low, high) == (pytest.approx(59.5 - 55.86, abs=0.01), 100)
    assert axis("curves", "Validation log-loss", "y")[0] == 0
    (band, *_) = values(whole["curves", "Validation accuracy"], 0)
    assert (band["mean"], band["high"]) == (59.5, 100)
    assert min(point["low"] for point in values(whole["curves", "Validation log-loss"], 0)) == 0
    (mean, *_) = values(whole["scores", "Accuracy"], 1)
    assert (mean["low"], mean["high"], mean["interval"]) == (0, 100, "0.00 to 100.00")


def test_differences_of_few_seeds_have_no_error_bar() -> None:
    few = drawn(comparison(seeds=5))["of_focus", "Accuracy"]
    means = values(few, 2)
    assert [(mean["low"], mean["high"]) for mean in means] == [(mean["mean"],) * 2 for mean in means]
    assert {mean["interval"] for mean in means} == {"too few seeds"}
    enough = values(drawn(comparison(seeds=6))["of_focus", "Accuracy"], 2)
    assert all(mean["low"] < mean["mean"] < mean["high"] for mean in enough)


def test_a_confidence_sequence_is_a_thin_line_with_ends_from_enough_seeds_on() -> None:
    whole = comparison(seeds=8)
    chart = drawn(whole)["of_focus", "Accuracy"]
    lines = {line["arm"]: (line["low"], line["high"]) for line in values(chart, 5)}
    of_focus = {each.reference: each.evidence for each in overview(whole).of_focus["accuracy"]}
    assert lines == {arm: (evidence.low, evidence.high) for arm, evidence in of_focus.items()}
    assert chart.spec["layer"][5]["mark"]["strokeWidth"] < chart.spec["layer"][2]["mark"]["strokeWidth"]
    planned = plan(arms=("none", "saam"), seeds=6)
    runs = tuple(record(arm, seed, 80 + 0.1 * (arm == "saam"), 0.4) for arm, seed in planned.schedule())
    chart = drawn(Comparison(planned, runs, ()))["of_focus", "Accuracy"]
    low, high = chart.spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    (line,) = values(chart, 5)
    assert low < line["low"] < 0.1 - 0.2 < 0.1 + 0.2 < line["high"] < high
    assert len(drawn(comparison(seeds=5))["of_focus", "Accuracy"].spec["layer"]) == 5


def test_the_axis_of_differences_shows_zero_and_all_points() -> None:
    chart = drawn(comparison(seeds=6))["of_focus", "Accuracy"]
    low, high = chart.spec["layer"][0]["encoding"]["x"]["scale"]["domain"]
    points = [point["value"] for point in values(chart, 1)]
    assert low < min(0, *points)
    assert high > max(0, *points)
    assert chart.spec["layer"][0]["encoding"]["x"]["axis"]["titleAnchor"] == "end"  # else a phone cuts the title off


def test_the_frame_of_curves_leaves_out_the_first_quarter() -> None:
    whole = comparison(seeds=2)
    chart = drawn(whole)["curves", "Validation accuracy"]
    late = [point for point in values(chart, 0) if point["epoch"] > 3]
    low, high = chart.spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert low == min(point["low"] for point in late)
    assert high == max(point["high"] for point in late)
    assert low > 60 > min(point["low"] for point in values(chart, 0))


def test_cost_stands_against_accuracy() -> None:
    whole = comparison(seeds=2)
    costs = {point["arm"]: point for point in values(drawn(whole)["cost", "Time of a training step"], 0)}
    assert costs["saam"]["cost"] == pytest.approx(1.27)
    parameters = {point["arm"]: point for point in values(drawn(whole)["cost", "Parameters"], 0)}
    assert parameters["saam"]["cost"] == 80220
    saam = [each.test["accuracy"] for each in whole.records if each.arm == "saam"]
    assert parameters["saam"]["score"] == pytest.approx(sum(saam) / 2)


def test_an_arm_without_a_mean_has_no_place_among_the_costs() -> None:
    planned = plan(seeds=2)
    runs = [
        replace(each, test={**each.test, "accuracy": math.nan}) if each.arm == "saam" else each
        for each in records(planned)
    ]
    whole = drawn(Comparison(planned, tuple(runs), tuple(map(cost, planned.arms, range(4)))))
    assert json.dumps([chart.spec for chart in whole.values()], allow_nan=False)


def test_a_diverged_run_leaves_the_rest_drawn() -> None:
    planned = plan(seeds=2)
    runs = list(records(planned))
    runs[-1] = replace(runs[-1], test={**runs[-1].test, "loss": math.nan})
    whole = drawn(Comparison(planned, tuple(runs), ()))
    assert json.dumps([chart.spec for chart in whole.values()], allow_nan=False)
    assert {mean["arm"] for mean in values(whole["scores", "Log-loss"], 1)} == {"none", "se", "eca"}
    assert ("of_focus", "Log-loss") not in whole
    assert ("of_focus", "Accuracy") in whole


def test_long_labels_break_into_lines() -> None:
    whole = comparison(arms=("none", "saam,heads=4,kernel_size=3,scorer=pixel"), seeds=2)
    labels = {point["label"] for point in values(drawn(whole)["scores", "Accuracy"], 0)}
    assert labels == {"none", "saam, heads=4,\nkernel_size=3,\nscorer=pixel"}


def use_chart(sites: int) -> Chart:
    planned = plan(arms=("none", "saam"), seeds=1)
    use = {f"layer{place}": (0.5, 2.0) for place in range(sites)}
    runs = (record("none", 0, 80.0, 0.5), with_use(record("saam", 0, 80.0, 0.5), use, use))
    return drawn(Comparison(planned, runs, ()))["use", "saam: pixels used by site"]


def test_the_use_of_the_scores_by_epoch_and_site() -> None:
    planned = plan(arms=("none", "se", "saam"), seeds=2)
    uses = [
        ({"stem": (1.0, 1.0), "head": (0.9, 2.0)}, {"stem": (0.8, 3.0), "head": (0.3, 9.0)}),
        ({"stem": (0.9, 1.5), "head": (0.8, 3.0)}, {"stem": (0.96, 1.4), "head": (0.5, 6.0)}),
    ]
    runs = []
    for arm, seed in planned.schedule():
        run = record(arm, seed, 80.0, 0.5)
        epochs = uses[seed] if arm == "saam" else ({}, {})
        runs.append(with_use(run, *epochs) if arm != "none" else run)
    whole = drawn(Comparison(planned, tuple(runs), ()))
    assert [title for section, title in whole if section == "use"] == ["saam: pixels used by site"]
    chart = whole["use", "saam: pixels used by site"]
    assert values(chart, 2) == [
        {"arm": "saam", "site": "stem", "epoch": 1, "share": 0.95, "lift": 1.25},
        {"arm": "saam", "site": "stem", "epoch": 2, "share": 0.88, "lift": 2.2},
        {"arm": "saam", "site": "head", "epoch": 1, "share": 0.85, "lift": 2.5},
        {"arm": "saam", "site": "head", "epoch": 2, "share": 0.4, "lift": 7.5},
    ]
    rule, text, line, points = (layer["encoding"] for layer in chart.spec["layer"])
    assert values(chart, 0) == values(chart, 1) == [{"share": 1, "text": "mean pooling"}]
    for encoding in (rule, text, line, points):
        assert encoding["y"]["field"] == "share"
        assert encoding["y"]["scale"]["domain"] == [0, 1]
    assert line["x"]["field"] == "epoch"
    assert line["color"]["field"] == "site"
    assert line["color"]["scale"]["domain"] == ["stem", "head"]
    assert [tip["field"] for tip in points["tooltip"]] == ["arm", "site", "epoch", "share", "lift"]


@pytest.mark.parametrize("sites", [1, 2, 8, 9, 27])
def test_many_sites_have_many_colours_and_few_names(sites: int) -> None:
    colour = use_chart(sites).spec["layer"][2]["encoding"]["color"]
    shades, named = colour["scale"]["range"], colour["legend"]["values"]
    assert len(set(shades)) == sites == len(colour["scale"]["domain"])
    assert all(len(shade) == 7 for shade in shades)
    assert shades[0] == "#3a9d78"
    assert sites == 1 or shades[-1] == "#d1495b"
    assert len(named) == min(sites, 8)
    assert (named[0], named[-1]) == ("layer0", f"layer{sites - 1}")
    assert sorted(named, key=colour["scale"]["domain"].index) == named


def test_the_change_of_the_maps_by_epoch_and_site() -> None:
    planned = plan(arms=("none", "se"), seeds=1)
    run = record("se", 0, 80.0, 0.5)
    gates = [{"stem": {"change": change, "factor": 0.5, "channels": 0.1, "images": None}} for change in (0.25, 0.5)]
    curve = [{**each, "observed": {"gate_use": uses}} for each, uses in zip(run.curve, gates, strict=False)]
    whole = drawn(Comparison(planned, (record("none", 0, 80.0, 0.5), replace(run, curve=tuple(curve))), ()))
    chart = whole["gates", "se: change of the map by site"]
    assert [(point["epoch"], point["change"], point["images"]) for point in values(chart, 0)] == [
        (1, 0.25, None),
        (2, 0.5, None),
    ]


def test_one_epoch_of_use_is_no_chart() -> None:
    runs = (with_use(record("saam", 0, 80.0, 0.5), {"stem": (0.5, 2.0)}),)
    whole = drawn(Comparison(plan(arms=("saam",), seeds=1), runs, ()))
    assert "use" not in {section for section, _ in whole}


def test_a_use_that_old_records_tell_in_part_is_drawn_so_far() -> None:
    run = with_use(record("saam", 0, 80.0, 0.5), {"stem": (0.5, 2.0)}, {"stem": (0.4, 3.0)}, {})
    broken = {"score_use": {"stem": {"share": 0.3, "lift": None}, "head": {"share": math.nan}}}
    run = replace(run, curve=(*run.curve[:2], {**run.curve[2], "observed": broken}, {"epoch": 4}))
    whole = drawn(Comparison(plan(arms=("saam",), seeds=1), (run,), ()))
    points = values(whole["use", "saam: pixels used by site"], 2)
    assert [(point["epoch"], point["share"], point["lift"]) for point in points] == [
        *((1, 0.5, 2.0), (2, 0.4, 3.0), (3, 0.3, None))
    ]
    assert json.dumps([chart.spec for chart in whole.values()], allow_nan=False)


def test_eight_arms_have_a_chart_of_use_and_the_focus_is_one_of_them() -> None:
    arms = tuple(f"saam,heads={2**place}" for place in range(9))
    planned = plan(arms=("none", *arms), seeds=1, focus=arms[-1])
    use = {"stem": (0.5, 2.0)}
    runs = tuple(with_use(record(arm, 0, 80.0, 0.5), use, use) for arm in arms)
    titles = [title for section, title in drawn(Comparison(planned, runs, ())) if section == "use"]
    assert titles == [f"{arm}: pixels used by site" for arm in (arms[-1], *arms[:7])]
