import math

import pytest

from saam.training.schedule import SCHEDULES, cosine, one_cycle, schedule_factor, step


@pytest.mark.parametrize(
    ("progress", "factor"),
    [
        (0.0, 0.04),
        (0.1, 0.52),  # half way up: (0.04 + 1) / 2
        (0.2, 1.0),
        (0.4, 0.8535533905932737),  # a quarter of the way down: (1 + cos 45 degrees) / 2
        (0.6, 0.5),
        (1.0, 0.0),
    ],
)
def test_one_cycle_by_hand(progress, factor):
    assert one_cycle(progress, warmup_fraction=0.2) == pytest.approx(factor, abs=1e-12)
    assert schedule_factor("one-cycle", progress, warmup_fraction=0.2) == one_cycle(progress, warmup_fraction=0.2)


@pytest.mark.parametrize(
    ("progress", "factor"),
    [(0.0, 0.0), (0.05, 0.25), (0.2, 1.0), (0.6, 0.5), (0.8, 0.1464466094067262), (1.0, 0.0)],
)
def test_cosine_by_hand(progress, factor):
    assert cosine(progress, warmup_fraction=0.2) == pytest.approx(factor, abs=1e-12)
    assert schedule_factor("cosine", progress, warmup_fraction=0.2) == cosine(progress, warmup_fraction=0.2)


@pytest.mark.parametrize(
    ("progress", "factor"),
    [(0.0, 0.0), (0.025, 0.25), (0.1, 1.0), (0.49, 1.0), (0.5, 0.1), (0.74, 0.1), (0.75, 0.01), (1.0, 0.01)],
)
def test_step_by_hand(progress, factor):
    settings = {"warmup_fraction": 0.1, "milestones": (0.5, 0.75)}
    assert step(progress, **settings) == pytest.approx(factor, abs=1e-12)
    assert schedule_factor("step", progress, **settings) == step(progress, **settings)


def test_cifar_step_drops_exactly_between_epochs():
    milestones = (81 / 164, 122 / 164)
    for steps in (391, 352, 7):
        at = [
            schedule_factor("step", (epoch * steps + k + 0.5) / (164 * steps), milestones=milestones)
            for epoch, k in ((80, steps - 1), (81, 0), (121, steps - 1), (122, 0))
        ]
        assert at == pytest.approx([1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_without_warm_up_starts_at_the_top(schedule):
    assert schedule_factor(schedule, 0.0) == 1


def test_bad_arguments():
    with pytest.raises(ValueError, match="unknown schedule 'cosin': did you mean 'cosine'"):
        schedule_factor("cosin", 0.5)
    for progress in (-0.01, 1.01, math.nan):
        with pytest.raises(ValueError, match=r"progress must be in \[0, 1\]"):
            schedule_factor("cosine", progress)
