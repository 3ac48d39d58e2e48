import math
from dataclasses import replace
from typing import Any

import pytest

from report.fakes import record, with_use
from saam.comparison import RunRecord
from saam.report.use import GATES, SCORES, SiteUse, delivered, use_by_epoch

RUNS = [
    with_use(record("saam", 0, 80.0, 0.5), {"b": (1.0, 1.0), "a": (0.9, 2.0)}, {"b": (0.8, 3.0), "a": (0.3, 9.0)}),
    with_use(record("saam", 1, 80.0, 0.5), {"b": (0.9, 1.5), "a": (0.8, 3.0)}, {"b": (0.96, 1.4), "a": (0.5, 6.0)}),
]


def old(observed: Any) -> RunRecord:
    """A run of two epochs whose last was recorded otherwise."""
    run = with_use(record("saam", 2, 80.0, 0.5), {"b": (0.7, 4.0)}, {})
    return replace(run, curve=(run.curve[0], {**run.curve[1], "observed": observed}))


def test_use_is_the_mean_over_seeds_in_the_order_of_the_network() -> None:
    found = use_by_epoch(RUNS, SCORES)
    assert [(use.site, use.epoch) for use in found] == [("b", 1), ("b", 2), ("a", 1), ("a", 2)]
    assert [use.values["share"] for use in found] == pytest.approx([0.95, 0.88, 0.85, 0.4])
    assert [use.values["lift"] for use in found] == pytest.approx([1.25, 2.2, 2.5, 7.5])


def test_the_use_of_gates_is_read_apart_from_that_of_scores() -> None:
    gates = {"a": {"change": 0.5, "factor": 0.75, "channels": 0.25, "images": 0.125}}
    run = replace(RUNS[0], curve=({**RUNS[0].curve[0], "observed": {"gate_use": gates}}, *RUNS[0].curve[1:]))
    assert use_by_epoch([run], GATES) == [SiteUse("a", 1, gates["a"])]
    assert delivered([replace(run, curve=run.curve[:1])], GATES) == {"a": 0.5}
    assert delivered([run], GATES) == {}


def test_the_last_epoch_is_what_was_delivered() -> None:
    assert delivered(RUNS, SCORES) == pytest.approx({"b": 0.88, "a": 0.4})


@pytest.mark.parametrize(
    "observed",
    [
        *({}, None, [], {"score_use": None}, {"score_use": {}}, {"score_use": {"b": None}}, {"score_use": {"b": {}}}),
        *({"score_use": {"b": {"share": share, "lift": 1.0}}} for share in (None, math.nan, "1")),
    ],
)
def test_what_was_not_recorded_counts_for_nothing(observed: Any) -> None:
    assert use_by_epoch([old(observed)], SCORES) == [SiteUse("b", 1, {"share": 0.7, "lift": 4.0})]
    assert delivered([old(observed)], SCORES) == {}
    assert delivered([*RUNS, old(observed)], SCORES) == delivered(RUNS, SCORES)


def test_records_without_the_key_have_no_use() -> None:
    plain = record("saam", 0, 80.0, 0.5)
    assert "observed" not in plain.curve[-1]
    for runs in ([], [plain], [replace(plain, curve=())]):
        assert use_by_epoch(runs, SCORES) == []
        assert delivered(runs, SCORES) == {}


def test_a_site_that_some_runs_lack_is_the_mean_of_the_others() -> None:
    other = with_use(record("saam", 2, 80.0, 0.5), {"c": (0.5, 3.0)}, {"a": (0.1, 20.0)})
    assert delivered([*RUNS, other], SCORES) == pytest.approx({"b": 0.88, "a": 0.3})
    assert SiteUse("c", 1, {"share": 0.5, "lift": 3.0}) in use_by_epoch([*RUNS, other], SCORES)


def test_a_share_without_lift_is_a_share() -> None:
    found = use_by_epoch([old({"score_use": {"b": {"share": 0.6}}})], SCORES)
    assert found[1] == SiteUse("b", 2, {"share": 0.6, "lift": None})
