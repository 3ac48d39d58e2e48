"""Intervals and verdicts of the measures."""

import json
import math
from dataclasses import replace

import pytest
import torch

from saam.comparison.crossed import crossed_interval
from saam.explain import Trust
from saam.report.trust import trust_document, trust_rows, trust_text


def made(images=30, seeds=3):
    generator = torch.Generator().manual_seed(0)

    def values(mean):
        return mean + 0.05 * torch.randn(seeds, images, generator=generator, dtype=torch.float64)

    means = {"good": 0.2, "bad": 0.6, "even": 0.45, "uniform": 0.5, "centre": 0.4}
    by_method = {method: values(mean) for method, mean in means.items()}
    measures = {"deletion": by_method, "ROAD": by_method, "between seeds": {"good": values(0.9)}}
    return Trust(tuple(range(seeds)), images, measures, None)


def test_values_have_the_interval_over_seeds_and_images():
    trust = made()
    row = next(row for row in trust_rows(trust) if (row.measure, row.method) == ("ROAD", "good"))
    values = trust.values["ROAD"]
    expected = crossed_interval(dict(enumerate(values["good"].numpy())))
    assert (row.value.mean, row.value.low, row.value.high) == (expected.mean, expected.low, expected.high)
    paired = crossed_interval(dict(enumerate((values["good"] - values["centre"]).numpy())))
    assert (row.over["centre"].low, row.over["centre"].high) == (paired.low, paired.high)


def test_one_network_has_an_interval_over_images():
    trust = made(seeds=1)
    row = trust_rows(trust)[0]
    values = trust.values["deletion"]["good"][0]
    half = 2.0452 * float(values.std()) / math.sqrt(30)  # Student's t with 29 degrees of freedom
    assert row.value.high - row.value.mean == pytest.approx(half, rel=1e-3)
    assert row.value.mean - row.value.low == pytest.approx(half, rel=1e-3)


def test_verdicts_follow_the_direction_of_the_measure():
    verdicts = {(row.measure, row.method): row.verdict for row in trust_rows(made())}
    assert {name: verdicts["deletion", name] for name in ("good", "bad", "even", "uniform")} == {
        "good": "better",
        "bad": "worse",
        "even": "worse",
        "uniform": "",
    }
    assert {name: verdicts["ROAD", name] for name in ("good", "bad", "even")} == {
        "good": "worse",
        "bad": "better",
        "even": "worse",
    }
    assert verdicts["between seeds", "good"] == ""


def test_a_difference_that_may_be_none_is_open():
    trust = made()
    same = {**trust.values["ROAD"], "even": trust.values["ROAD"]["centre"].flip(1)}
    verdicts = {row.method: row.verdict for row in trust_rows(replace(trust, values={"deletion": same}))}
    assert verdicts["even"] == "open"


def test_a_document_is_json_with_a_line_for_each_row():
    document = trust_document(made(), run="mine")
    text = trust_text(document)
    assert json.loads(text) == document
    assert document["run"] == "mine"
    assert len(text.splitlines()) == len(document["rows"]) + 4 + 4
    alone = trust_document(made(images=1, seeds=1))
    assert alone["rows"][0]["value"][1:] == [None, None]
