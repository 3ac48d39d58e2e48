from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from torch import nn

from comparison.fakes import scores_of
from saam.comparison import CostRecord, Plan, RunRecord, costs, driver, job
from saam.comparison.plan_run import Run
from saam.training import Recipe


@pytest.fixture
def make_record() -> Callable[..., RunRecord]:
    def make(arm: str = "se", seed: int = 0, accuracy: float = 90.0, loss: float = 0.3, **changes: Any) -> RunRecord:
        scores = {"accuracy": accuracy, "loss": loss, "count": 100}
        values: dict[str, Any] = {
            "id": f"{arm}-{seed}",
            "arm": arm,
            "model": "resnet8",
            "model_options": {"width": 8},
            "data": "photo-digits",
            "data_options": {},
            "recipe": {"epochs": 1},
            "where": "residual",
            "start": "default",
            "seed": seed,
            "test": scores,
            "validation": dict(scores),
            "curve": ({"epoch": 1, "train_loss": 2.0},),
            "parameters": 123,
            "seconds": 1.5,
            "environment": {"saam": "0.1.0"},
            "finished": "2025-01-01T00:00:00+00:00",
        }
        return RunRecord(**{**values, **changes})

    return make


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder for the data of these tests, for worker processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    """Plans for networks that train in a second."""

    def make(**changes: Any) -> Plan:
        values: dict[str, Any] = {
            "recipe": Recipe(epochs=2, batch_size=40),
            "arms": ("none", "se", "saam"),
            "seeds": (0, 1),
            "model_options": {"width": 8, "stem_stride": 2},
            "data_options": {"train": 120, "validation": 50, "test": 60},
        }
        return Plan(**{**values, **changes})

    return make


@pytest.fixture
def ran(monkeypatch, make_record):
    """Runs and measurements that take no time; the list of those made so far."""
    made = []

    def run(plan, arm, seed, **_):
        made.append((arm, seed))
        splits = driver.load_data(plan.data, **plan.data_options)
        record = make_record(
            arm,
            seed,
            80 + seed + len(arm) / 10,
            id=plan.run_id(arm, seed, fingerprint=splits.fingerprint),
            finished=f"run {len(made)}",
        )
        return Run(record, nn.Linear(2, seed + 1), scores_of((0.5, 2.0), (True, False)))

    def measure_costs(models, recipe, **settings):
        made.append(("costs", tuple(models), settings))
        return tuple(cost_of(arm) for arm in models)

    monkeypatch.setattr(job, "run", run)
    monkeypatch.setattr(costs, "measure_costs", measure_costs)
    return made


def cost_of(arm):
    values = {
        field: {"str": arm, "tuple[int, int]": (32, 32)}.get(str(kind).removeprefix("<class '").removesuffix("'>"), 1)
        for field, kind in CostRecord.__annotations__.items()
    }
    return CostRecord(**values)


@pytest.fixture
def executor():
    """One run after the other, first come, first served."""
    with ThreadPoolExecutor(1) as threads:
        yield threads
