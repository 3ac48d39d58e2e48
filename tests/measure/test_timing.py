"""Contenders that take turns, on a clock that the test sets."""

import itertools

import pytest
import torch

from saam.measure import median_ratio, spread, take_turns, timing

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only when the test says so."""
    now = [100.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def takes(*seconds):
        each = itertools.cycle(seconds)

        def work():
            now[0] += next(each)

        return work

    return takes


def test_each_is_timed_once_a_round(clock):
    times = take_turns({"a": clock(1.0, 3.0), "b": clock(0.5)}, rounds=6, seconds=1e9, device=CPU)
    assert times == {"a": [1.0, 3.0] * 3, "b": [0.5] * 6}


def test_every_round_begins_with_another_one():
    calls = []
    take_turns({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=5, seconds=1e9, device=CPU)
    assert "".join(calls) == "abcbcacababcbca"


@pytest.mark.parametrize(
    ("rounds", "seconds", "minimum", "made"),
    [
        (30, 0.0, 5, 5),
        (30, 10.5, 5, 11),  # the eleventh begins at 10 s
        (7, 1e9, 5, 7),
        (2, 1e9, 5, 5),
        (30, 0.0, 2, 2),
    ],
)
def test_rounds_end_with_the_time_but_not_before_the_least(clock, rounds, seconds, minimum, made):
    times = take_turns({"a": clock(1.0)}, rounds=rounds, seconds=seconds, minimum=minimum, device=CPU)
    assert len(times["a"]) == made


def test_times_end_when_the_device_is_done(clock, monkeypatch):
    waited = []
    work = clock(1.0)
    monkeypatch.setattr(torch.accelerator, "synchronize", lambda device: (waited.append(device), clock(2.0)()))
    device = torch.device("cuda", 0)
    assert take_turns({"a": work}, rounds=5, seconds=1e9, device=device) == {"a": [3.0] * 5}
    assert waited == [device] * 5


def test_the_spread_is_the_interquartile_range():
    assert spread([1, 2, 3, 4, 100]) == 2  # 4 - 2
    assert spread([1.0, 2.0]) == 0.5


def test_the_ratio_is_the_median_of_the_ratios_of_each_round():
    """In rounds that drift the ratio of the medians would say something else: 4 / 3."""
    times, baseline = [2.0, 4.0, 9.0, 1.0, 30.0], [1.0, 4.0, 3.0, 2.0, 10.0]
    ratio, between = median_ratio(times, baseline)  # 2, 1, 3, 0.5, 3
    assert (ratio, between) == (2.0, 2.0)
    with pytest.raises(ValueError, match="shorter"):
        median_ratio([1.0, 2.0], [1.0])


def test_short_work_is_called_again_until_its_time_has_passed(clock):
    times = take_turns({"a": clock(0.25), "b": clock(5.0)}, rounds=5, seconds=1e9, repeat=1.0)
    assert times == {"a": [0.25] * 5, "b": [5.0] * 5}
    calls = []
    work = clock(0.25)
    take_turns({"a": lambda: (calls.append(1), work())}, rounds=5, seconds=1e9, repeat=1.0)
    assert len(calls) == 5 * 4
