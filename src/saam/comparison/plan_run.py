"""One run of a plan: one arm, one seed, from initial weights to the test set.

Common random numbers: for one seed the backbone's initial weights, the order of the images and every augmentation draw
are the same in all arms; the attention's weights come from a generator of their own.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from torch import nn

from saam._core.devices import Device, device_of
from saam.comparison.environment import environment, now
from saam.comparison.network import build_model
from saam.comparison.plan import Plan
from saam.comparison.plan_data import coloured, load_splits
from saam.comparison.records import RunRecord
from saam.data import Splits
from saam.explain import observe
from saam.measure import count_parameters
from saam.models import untrained_parameters
from saam.training import EpochRecord, ImageScores, fit

__all__ = ["Run", "run"]


class Run(NamedTuple):
    """The result of a run: its record, the trained network, and the scores on each test image."""

    record: RunRecord
    model: nn.Module
    scores: ImageScores


def run(
    plan: Plan,
    arm: str,
    seed: int,
    *,
    splits: Splits | None = None,
    device: Device = None,
    on_epoch: Callable[[EpochRecord], object] | None = None,
    state: Path | None = None,
) -> Run:
    """Train one arm with one seed, then open the test set, once.

    Args:
        plan: The comparison.
        arm: Label of the arm.
        seed: Seed of the initial weights, the batch order and all other draws.
        splits: The plan's data; None loads them.
        device: Name for torch; None means the best one.
        on_epoch: Called with each epoch's record.
        state: File to store the run in after each epoch, and to resume from if it exists.

    Returns:
        The record, the trained network, and the scores on each test image.

    Raises:
        FloatingPointError: If the loss is not finite.
        ValueError: If the state is damaged or belongs to another run.
    """
    splits = load_splits(plan) if splits is None else coloured(splits, plan.model, pretrained=plan.pretrained)
    run_id = plan.run_id(arm, seed, fingerprint=splits.fingerprint)
    model = build_model(plan, arm, seed=seed, classes=len(splits.classes))
    fitted = fit(
        model,
        splits,
        plan.recipe,
        seed=seed,
        device=device,
        new_parameters=untrained_parameters(model) if plan.pretrained else (),
        observe=observe,
        on_epoch=on_epoch,
        state=state,
        identity={"run": run_id},
    )
    curve = fitted.result.curve
    record = RunRecord(
        id=run_id,
        arm=arm,
        model=plan.model,
        model_options=plan.model_options,
        data=splits.label,
        data_options=plan.data_options,
        recipe=plan.recipe.to_dict(),
        where="" if plan.arm(arm).plain else plan.where,
        start="" if plan.arm(arm).plain else plan.start,
        seed=seed,
        test=asdict(fitted.test.mean()),
        validation={
            "accuracy": curve[-1].validation_accuracy,
            "loss": curve[-1].validation_loss,
            "count": len(splits.validation),
        },
        curve=tuple(asdict(epoch) for epoch in curve),
        parameters=count_parameters(model),
        seconds=fitted.result.seconds,
        environment=environment(device_of(model)),
        finished=now(),
    )
    return Run(record.as_read(), model, fitted.test)
