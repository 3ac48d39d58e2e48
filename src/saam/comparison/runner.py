"""One run of a comparison: one arm, one seed, from initial weights to the test set.

Common random numbers: for one seed the backbone's initial weights, the order of the images and every augmentation draw
are the same in all arms; the attention's weights come from a generator of their own.
"""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saam._version import __version__
from saam.comparison.plan import PLAIN, Arm, Plan, check_plan
from saam.comparison.records import RunRecord
from saam.data import Splits, kept_options, load_data, score_batches, train_batches
from saam.data.cache import no_downloads
from saam.explain import score_use
from saam.explain.score_maps import has_scores
from saam.functional.backend import backends
from saam.models import create_model, untrained_parameters
from saam.training import EpochRecord, evaluate, train

__all__ = ["build_model", "environment", "load_splits", "run", "score_observer", "without_fetching"]

# What published weights decide of networks of torchvision, beside their values.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "torchvision:googlenet": {"transform_input": True, "aux_logits": False},
    "torchvision:inception_v3": {"transform_input": True},
}
_OBSERVED = 200  # images; the use of the scores is an average over all of them, and shall cost no time


def run(
    plan: Plan,
    arm: str,
    seed: int,
    *,
    splits: Splits | None = None,
    device: str | torch.device | None = None,
    on_epoch: Callable[[EpochRecord], object] | None = None,
) -> tuple[RunRecord, nn.Module]:
    """Train one arm with one seed, then open the test set, once.

    Args:
        plan: what is compared.
        arm: label of one of the plan's arms.
        seed: of the initial weights, the batch order and every draw.
        splits: the plan's data, if they are at hand; else they are loaded.
        device: as torch names it, or None for the best there is.
        on_epoch: called with each epoch's record.

    Returns:
        The record, and the trained network.

    Raises:
        FloatingPointError: the loss is not finite any more.
    """
    splits = _load(plan.data, _json(plan.data_options)) if splits is None else splits
    recipe, size = plan.recipe, plan.recipe.batch_size
    model = build_model(plan, arm, seed=seed, classes=len(splits.classes))
    result = train(
        model,
        train_batches(splits, batch_size=size, seed=seed, augmentation=recipe.augmentation),
        score_batches(splits, "validation", batch_size=size),
        recipe,
        seed=seed,
        device=device,
        on_epoch=on_epoch,
        observe=score_observer(model, splits),
        new_parameters=untrained_parameters(model) if plan.model_options.get("pretrained") else (),
    )
    last = result.curve[-1]
    test = evaluate(model, score_batches(splits, "test", batch_size=size))
    record = RunRecord(
        id=plan.run_id(arm, seed, fingerprint=splits.fingerprint),
        arm=arm,
        model=plan.model,
        model_options=plan.model_options,
        data=splits.label,
        data_options=plan.data_options,
        recipe=recipe.to_dict(),
        where="" if arm == PLAIN else plan.where,
        start="" if arm == PLAIN else plan.start,
        seed=seed,
        test=asdict(test),
        validation={
            "accuracy": last.validation_accuracy,
            "loss": last.validation_loss,
            "count": len(splits.validation),
        },
        curve=tuple(asdict(epoch) for epoch in result.curve),
        parameters=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        seconds=result.seconds,
        environment=environment(next(model.parameters()).device),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return RunRecord.from_json(json.loads(json.dumps(record.to_json()))), model


def score_observer(model: nn.Module, splits: Splits) -> Callable[[nn.Module], dict[str, Any]] | None:
    """Return what notes after each epoch how much the score squeezes are used, on a few validation images.

    None for a model without score squeezes.
    """
    if not has_scores(model):
        return None
    few = replace(splits, validation=splits.validation.select(torch.arange(min(_OBSERVED, len(splits.validation)))))
    batches = score_batches(few, "validation", batch_size=_OBSERVED)

    def observe(model: nn.Module) -> dict[str, Any]:
        return {"score_use": {site: asdict(use) for site, use in score_use(model, batches).items()}}

    return observe


def build_model(plan: Plan, arm: str, *, seed: int, classes: int) -> nn.Module:
    """Return the network of an arm as it is before the training with this seed.

    Raises:
        ValueError: no such model, or an option out of its range.
        TypeError: an option that the model or the attention does not have.
    """
    return create_model(
        plan.model,
        attention=Arm(arm).attention,
        head=Arm(arm).head,
        num_classes=classes,
        where=plan.where,
        start=plan.start,
        seed=seed,
        **plan.model_options,
    )


def load_splits(plan: Plan) -> Splits:
    """Load the data of a plan that may come from a stranger: from this machine alone, see `saam.data.load_kept_data`.

    Those loaded last stay in memory, for runs in the same process too.

    Raises:
        ValueError: an option that is not taken from a file.
        FileNotFoundError: the data are not on this machine.
    """
    options = kept_options(plan.data, plan.data_options)
    with no_downloads():
        return _load(plan.data, _json(options))


def without_fetching(plan: Plan) -> Plan:
    """Return the plan with networks as its runs had them, but without published weights, after a check of a stranger's.

    Raises:
        ValueError: the name or an option of the network is not taken from a file.
    """
    check_plan(plan)
    options = dict(plan.model_options)
    if options.pop("pretrained", False):
        options = {**_PUBLISHED.get(plan.model, {}), **options}
    return replace(plan, model_options=options)


def environment(device: torch.device) -> dict[str, str | int]:
    """Return what a result may depend on beyond its plan: versions, machine, device and threads."""
    return {
        "saam": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "threads": torch.get_num_threads(),
        "fused": backends()["fused"],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
    }


def _json(options: dict[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


@lru_cache(maxsize=1)
def _load(name: str, options: str) -> Splits:
    return load_data(name, **json.loads(options))


@lru_cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
