"""Learning-rate schedules: pure functions of progress (0 at the start of a run, 1 at its end) that return a factor.

The learning rate of a step is the recipe's learning rate times the factor, so the largest factor of each schedule is 1.
The argument is progress instead of a step number, so that one schedule serves runs of any length.
"""

import math
from collections.abc import Sequence

from saam._core.errors import unknown

__all__ = ["SCHEDULES", "cosine", "one_cycle", "schedule_factor", "step"]

SCHEDULES = ("one-cycle", "step", "cosine")
_ONE_CYCLE_START = 1 / 25  # as torch's OneCycleLR
_STEP_DROP = 0.1


def schedule_factor(
    schedule: str, progress: float, *, warmup_fraction: float = 0.0, milestones: Sequence[float] = ()
) -> float:
    """Return the factor of a schedule chosen by name.

    Args:
        schedule: One of `SCHEDULES`.
        progress: Completed share of the run, in [0, 1].
        warmup_fraction: Share of the run for warm-up, in [0, 1).
        milestones: Shares of the run at which "step" drops; only used by "step".

    Raises:
        ValueError: If the name is unknown, or progress lies outside [0, 1].

    >>> schedule_factor("step", 0.6, milestones=(0.5, 0.75))
    0.1
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress must be in [0, 1], got {progress}: pass steps done / steps of the run")
    if schedule == "one-cycle":
        return one_cycle(progress, warmup_fraction=warmup_fraction)
    if schedule == "step":
        return step(progress, warmup_fraction=warmup_fraction, milestones=milestones)
    if schedule == "cosine":
        return cosine(progress, warmup_fraction=warmup_fraction)
    raise unknown("schedule", schedule, SCHEDULES)


def one_cycle(progress: float, *, warmup_fraction: float = 0.3) -> float:
    """Rise along a half cosine from 1/25 to 1, then fall along another to 0 (Smith & Topin 2017, arXiv 1708.07120)."""
    if progress < warmup_fraction:
        return 1 - (1 - _ONE_CYCLE_START) * _fall(progress / warmup_fraction)
    return _fall((progress - warmup_fraction) / (1 - warmup_fraction))


def cosine(progress: float, *, warmup_fraction: float = 0.0) -> float:
    """Rise linearly from 0 to 1, then fall along a half cosine to 0 (Loshchilov & Hutter 2017, arXiv 1608.03983)."""
    if progress < warmup_fraction:
        return progress / warmup_fraction
    return _fall((progress - warmup_fraction) / (1 - warmup_fraction))


def step(progress: float, *, warmup_fraction: float = 0.0, milestones: Sequence[float] = ()) -> float:
    """Rise linearly from 0 to 1, then drop tenfold at each milestone (He et al. 2016, arXiv 1512.03385)."""
    if progress < warmup_fraction:
        return progress / warmup_fraction
    drops = sum(milestone <= progress for milestone in milestones)
    return float(_STEP_DROP**drops)


def _fall(share: float) -> float:
    """Half a cosine: 1 at 0, 1/2 at 1/2, 0 at 1."""
    return (1 + math.cos(math.pi * share)) / 2
