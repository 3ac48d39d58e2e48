"""The costs of an arm relative to the plain backbone: parameters, arithmetic, time and memory.

Times are measured in one process in which the models take turns. The training step is that of `saam.training`.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from statistics import median
from typing import Any

from torch import nn

from saam._core.devices import Device, require_device, require_threads, threads_set
from saam._core.errors import unknown
from saam._core.random import generators_kept
from saam.comparison.arm import PLAIN
from saam.comparison.network import build_model
from saam.comparison.plan import Plan
from saam.comparison.records import CostRecord
from saam.comparison.trial import Trial
from saam.measure import count_macs, count_parameters, median_ratio, peak_memory, spread, take_turns
from saam.training import Recipe

__all__ = ["arm_costs", "measure_costs"]


def arm_costs(
    executor: Executor, plan: Plan, arms: Sequence[str], known: Sequence[CostRecord] = (), **settings: Any
) -> tuple[CostRecord, ...]:
    """Measure the costs of some arms of a plan in one worker. Nothing else should run meanwhile.

    Args:
        executor: Executor that runs the measurement.
        plan: The comparison.
        arms: Labels of the arms to measure; the plain backbone is measured with them.
        known: Costs that are already known.
        settings: Classes and image_size of the data; threads and device of `measure_costs`.

    Returns:
        The costs that were not known.

    Raises:
        RuntimeError: If the measurement fails.
    """
    future = executor.submit(_measure, plan, tuple(dict.fromkeys((PLAIN, *arms))), **settings)
    if error := future.exception():
        raise RuntimeError(
            f"the measurement of the costs failed: {type(error).__name__}: {error}; the runs are kept, and --no-costs "
            "(costs=False) leaves it out"
        ) from error
    names = {cost.arm for cost in known}
    return tuple(cost for cost in future.result() if cost.arm not in names)


def measure_costs(
    models: Mapping[str, nn.Module],
    recipe: Recipe,
    *,
    image_size: tuple[int, int],
    baseline: str = "none",
    threads: int = 1,
    device: Device = None,
    rounds: int = 30,
    seconds: float = 15.0,
) -> tuple[CostRecord, ...]:
    """Measure the costs of several models in turns, each relative to the baseline among them.

    In every round each model makes one training step, as in `saam.training`, on the same random batch. Inference is
    measured in the same way.

    Args:
        models: Label -> model. The measurement trains them, so pass new ones.
        recipe: Defines batch size, optimizer, precision, clipping, averaging and memory order.
        image_size: (H, W) of the images, which have three channels.
        baseline: Label of the plain backbone.
        threads: Number of torch threads on the CPU, restored at the end.
        device: Name for torch; None means the best one.
        rounds: Largest number of rounds, at least five.
        seconds: After this time no further round starts, unless fewer than five were made.

    Returns:
        One record for each model, in their order.

    Raises:
        ValueError: If the baseline is not among the models, MACs cannot be counted, the network does not accept images
            of this size, the device does not exist or does not support the precision, or there are too many threads.
    """
    if baseline not in models:
        raise unknown("baseline", baseline, models)
    require_threads(threads)
    place = require_device(device)
    try:
        macs = {label: count_macs(model, image_size) for label, model in models.items()}
    except AssertionError as error:  # timm's transformers raise this for other sizes
        size = "x".join(map(str, image_size))
        raise ValueError(
            f"the network does not accept images of {size} ({error}): choose the size it was built for"
        ) from error
    with threads_set(threads), generators_kept(place):
        trials = {label: Trial(model, recipe, image_size, place) for label, model in models.items()}
        memory = {label: peak_memory(trial.step, trial.tensors()) for label, trial in trials.items()}
        turns: dict[str, Any] = {"rounds": rounds, "seconds": seconds / 2, "device": place}
        steps = take_turns({label: trial.step for label, trial in trials.items()}, **turns)
        inferences = take_turns({label: trial.rest() for label, trial in trials.items()}, **turns)
    records = []
    for label, model in models.items():
        step_ratio, step_ratio_spread = median_ratio(steps[label], steps[baseline])
        inference_ratio, inference_ratio_spread = median_ratio(inferences[label], inferences[baseline])
        records.append(
            CostRecord(
                arm=label,
                parameters=count_parameters(model),
                extra_parameters=count_parameters(model) - count_parameters(models[baseline]),
                macs=macs[label],
                macs_ratio=macs[label] / macs[baseline],
                train_step_ms=1e3 * median(steps[label]),
                train_step_spread_ms=1e3 * spread(steps[label]),
                train_step_ratio=step_ratio,
                inference_ms=1e3 * median(inferences[label]),
                inference_spread_ms=1e3 * spread(inferences[label]),
                inference_ratio=inference_ratio,
                peak_memory_mb=memory[label] / 1e6,
                peak_memory_ratio=memory[label] / memory[baseline],
                batch_size=recipe.batch_size,
                image_size=image_size,
                threads=threads,
                device=str(place),
                train_step_ratio_spread=step_ratio_spread,
                inference_ratio_spread=inference_ratio_spread,
            )
        )
    return tuple(records)


def _measure(
    plan: Plan, arms: Sequence[str], *, classes: int, image_size: tuple[int, int], images: int, **settings: Any
) -> tuple[CostRecord, ...]:
    models = {arm: build_model(plan, arm, seed=0, classes=classes) for arm in arms}
    recipe = plan.recipe.for_images(images)
    return measure_costs(models, recipe, image_size=image_size, **settings)
