"""Times of contenders that take turns, so that a slow moment of the machine meets all of them."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median, quantiles

import torch

__all__ = ["median_ratio", "spread", "take_turns"]


def take_turns(
    works: Mapping[str, Callable[[], object]], *, rounds: int, seconds: float, minimum: int = 5, device: torch.device
) -> dict[str, list[float]]:
    """Time each work once a round; every round begins with another one.

    Args:
        works: Label -> what is timed.
        rounds: At most.
        seconds: Once this time has passed no further round begins, but ``minimum`` rounds are made.
        minimum: Number of rounds that are made in any case.
        device: Where the work runs; each time ends when the device has done what was queued.

    Returns:
        Label -> seconds of each round.
    """
    times: dict[str, list[float]] = {label: [] for label in works}
    labels, end = list(works), time.perf_counter() + seconds
    for turn in range(max(rounds, minimum)):
        if turn >= minimum and time.perf_counter() > end:
            break
        first = turn % len(labels)
        for label in labels[first:] + labels[:first]:
            start = time.perf_counter()
            works[label]()
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            times[label].append(time.perf_counter() - start)
    return times


def spread(values: Sequence[float]) -> float:
    """Return the interquartile range."""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return high - low


def median_ratio(times: Sequence[float], baseline: Sequence[float]) -> tuple[float, float]:
    """Return the median, and the interquartile range, of the ratios that the times of one round have."""
    ratios = [time / other for time, other in zip(times, baseline, strict=True)]
    return median(ratios), spread(ratios)
