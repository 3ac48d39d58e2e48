"""Time contenders in turns, so that a slow phase of the machine affects all of them."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles

import torch

__all__ = ["median_ratio", "spread", "take_turns"]


def take_turns(
    works: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    seconds: float = math.inf,
    minimum: int = 5,
    repeat: float = 0.0,
    device: torch.device | None = None,
) -> dict[str, list[float]]:
    """Time each work once per round; every round starts with another one.

    Args:
        works: label -> what is timed.
        rounds: at most.
        seconds: once this time has passed no further round begins, but ``minimum`` rounds are made.
        minimum: number of rounds that are made in any case.
        repeat: a work that takes less than these seconds is called again and again until they have passed.
        device: where the work runs, if not on the CPU; each time ends when the device has done what was queued.

    Returns:
        Label -> seconds of a call in each round.
    """
    times: dict[str, list[float]] = {label: [] for label in works}
    labels, end = list(works), time.perf_counter() + seconds
    for turn in range(max(rounds, minimum)):
        if turn >= minimum and time.perf_counter() > end:
            break
        first = turn % len(labels)
        for label in labels[first:] + labels[:first]:
            start, calls = time.perf_counter(), 0
            while not calls or time.perf_counter() - start < repeat:
                works[label]()
                calls += 1
            if device is not None and device.type != "cpu":
                torch.accelerator.synchronize(device)
            times[label].append((time.perf_counter() - start) / calls)
    return times


def spread(values: Sequence[float]) -> float:
    """Return the interquartile range."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return high - low


def median_ratio(times: Sequence[float], baseline: Sequence[float]) -> tuple[float, float]:
    """Return the median and the interquartile range of the ratios of the times within each round."""
    ratios = [time / other for time, other in zip(times, baseline, strict=True)]
    return median(ratios), spread(ratios)
