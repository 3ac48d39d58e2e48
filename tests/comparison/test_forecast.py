"""What a comparison will take, told before it runs."""

import itertools
import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from saam.comparison import compare
from saam.comparison.forecast import forecast
from saam.training import Recipe


def test_the_time_is_right_within_a_factor_of_three(make_plan, tmp_path):
    plan = make_plan(
        arms=("none", "se"),
        seeds=(0,),
        recipe=Recipe(epochs=4, batch_size=40),
        model_options={"width": 16},
        data_options={"train": 400, "validation": 100, "test": 40},
    )
    with ThreadPoolExecutor(1) as executor:
        compare(plan, tmp_path, executor=executor, costs=False, threads=1)
    told = forecast(plan, workers=1, threads=1)
    with ThreadPoolExecutor(1) as executor:
        start = time.perf_counter()
        done = compare(plan, tmp_path / "timed", executor=executor, costs=False, threads=1)
        assert time.perf_counter() > start
    took = sum(record.seconds for record in done.records)
    assert took / 3 < told.seconds < 3 * took


def test_all_numbers_are_positive_and_follow_the_plan(make_plan):
    plan = make_plan(arms=("none", "se", "saam"), seeds=(0, 1, 2))
    told = forecast(plan, workers=1)
    assert told.runs == 9
    weights = 4 * 20_000  # about what the network has
    assert 9 * weights / 2 < told.disk < 9 * weights * 2
    assert told.memory > 3 * weights  # weights, gradients and momentum at the least
    assert told.difference > plan.metrics[0].spread
    assert forecast(make_plan(seeds=tuple(range(12)))).difference < told.difference


def test_a_single_seed_shows_no_difference(make_plan):
    assert forecast(make_plan(seeds=(0,))).difference == math.inf


@pytest.mark.parametrize(
    ("settings", "processors", "rounds"),
    [
        ({"workers": 1}, 8, 6),
        ({"workers": 4}, 8, 2),
        ({}, 8, 1),
        ({}, 2, 3),
        ({"threads": 2}, 4, 3),
        ({"device": ["cpu", "cpu"]}, 8, 3),
    ],
)
def test_runs_share_the_workers_as_the_driver_has_them(make_plan, monkeypatch, settings, processors, rounds):
    clock = itertools.count(0, 0.5)  # asked twice in a step
    monkeypatch.setattr("saam.measure.timing.time.perf_counter", lambda: next(clock))
    monkeypatch.setattr("saam.comparison.driver.os.sched_getaffinity", lambda _: set(range(processors)), raising=False)
    told = forecast(make_plan(), **settings)
    steps = 2 * (120 / 40 + 50 / 40 / 3) + 60 / 40 / 3
    assert told.seconds == pytest.approx(rounds * steps)


def test_nothing_stays_changed(make_plan):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    threads = torch.get_num_threads()
    plan = make_plan(
        model="timm:resnet10t", model_options={"drop_rate": 0.5}
    )  # dropout draws from the global generator
    forecast(plan, threads=1 if threads > 1 else 2)
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads


def test_a_device_that_is_not_there_is_refused(make_plan):
    with pytest.raises(ValueError, match="nodevice"):
        forecast(make_plan(), device="nodevice")
