"""Comparisons made up for the tests, with the fields of real ones."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from saam.comparison import Comparison, CostRecord, Plan, RunRecord
from saam.training import Recipe

ARMS = ("none", "se", "eca", "saam")
GAINS = {"none": 0.0, "se": 0.45, "eca": 0.3, "saam": 1.1}


def plan(arms: tuple[str, ...] = ARMS, seeds: int | range = 8, **settings: Any) -> Plan:
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    return Plan(**{"recipe": Recipe(epochs=12), **settings}, arms=arms, seeds=tuple(seeds))


def record(arm: str, seed: int, accuracy: float, loss: float, *, epochs: int = 12, **changes: Any) -> RunRecord:
    rng = np.random.default_rng(1000 * seed + sum(map(ord, arm)))
    curve = []
    for epoch in range(1, epochs + 1):
        left = math.exp(-4 * epoch / epochs)
        noise = rng.normal(0, 0.6 * left + 0.1)
        curve.append(
            {
                "epoch": epoch,
                "learning_rate": 0.1 * (1 - epoch / epochs),
                "train_loss": loss * 0.8 + 1.9 * left + 0.02 * noise,
                "train_accuracy": accuracy + 2 - 75 * left,
                "validation_loss": loss + 1.7 * left + 0.05 * noise,
                "validation_accuracy": accuracy - 70 * left + noise,
                "seconds": 4.0,
            }
        )
    values: dict[str, Any] = {
        "id": f"{arm}/{seed}",
        "arm": arm,
        "model": "resnet8",
        "model_options": {},
        "data": "photo-digits",
        "data_options": {},
        "recipe": {},
        "where": "residual",
        "start": "default",
        "seed": seed,
        "test": {"accuracy": accuracy, "loss": loss, "count": 10000},
        "validation": {"accuracy": accuracy + 0.3, "loss": loss - 0.01, "count": 5000},
        "curve": tuple(curve),
        "parameters": 77000,
        "seconds": 48.0,
        "environment": {"saam": "0.1.0", "torch": "2.15.0", "python": "3.11.7", "platform": "Linux", "threads": 1},
        "finished": f"2026-01-02T03:{seed:02d}:00+00:00",
    }
    return RunRecord(**{**values, **changes})


def cost(arm: str, place: int, **changes: Any) -> CostRecord:
    values: dict[str, Any] = {
        "arm": arm,
        "parameters": 77850 + 790 * place,
        "extra_parameters": 790 * place,
        "macs": 12_450_000 + 21_000 * place,
        "macs_ratio": 1 + 0.0017 * place,
        "train_step_ms": 61.3 * (1 + 0.09 * place),
        "train_step_spread_ms": 0.8,
        "train_step_ratio": 1 + 0.09 * place,
        "inference_ms": 17.2 * (1 + 0.05 * place),
        "inference_spread_ms": 0.3,
        "inference_ratio": 1 + 0.05 * place,
        "peak_memory_mb": 103.0 + place,
        "peak_memory_ratio": 1 + place / 103,
        "batch_size": 128,
        "image_size": (32, 32),
        "threads": 1,
        "device": "cpu",
    }
    return CostRecord(**{**values, **changes})


def records(
    planned: Plan, gains: Mapping[str, float] = GAINS, *, spread: float = 0.35, seed: int = 0
) -> tuple[RunRecord, ...]:
    """Runs whose seeds share a common part, as paired runs do."""
    rng = np.random.default_rng(seed)
    common = {each: rng.normal(87.4, 0.4) for each in planned.seeds}
    runs = []
    for arm, each in planned.schedule():
        accuracy = common[each] + gains.get(arm, 0.2) + rng.normal(0, spread)
        runs.append(record(arm, each, round(accuracy, 2), round(0.41 - 0.025 * (accuracy - 87.4), 4)))
    return tuple(runs)


def comparison(**settings: Any) -> Comparison:
    planned = plan(**settings)
    arms = dict.fromkeys(("none", *planned.arms))
    return Comparison(planned, records(planned), tuple(cost(arm, place) for place, arm in enumerate(arms)))


def with_use(run: RunRecord, *epochs: Mapping[str, tuple[float, float]]) -> RunRecord:
    """The run cut to these epochs, after each of which (share, lift) of every site was noted."""
    observed = [
        {"score_use": {site: {"share": share, "lift": lift} for site, (share, lift) in uses.items()}} for uses in epochs
    ]
    return replace(
        run, curve=tuple({**each, "observed": seen} for each, seen in zip(run.curve, observed, strict=False))
    )


def first(whole: Comparison, runs: int, *, costs: bool = False) -> Comparison:
    """The comparison after its first runs."""
    return replace(whole, records=whole.records[:runs], costs=whole.costs if costs else ())
