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
        works: Label -> function to time.
        rounds: Largest number of rounds.
        seconds: After this time no further round starts, unless fewer than ``minimum`` rounds were made.
        minimum: Smallest number of rounds.
        repeat: A work that takes fewer seconds is repeated until they have passed.
        device: Device of the work, if not the CPU; each time includes waiting for the device to finish.

    Returns:
        Label -> seconds per call in each round.
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
