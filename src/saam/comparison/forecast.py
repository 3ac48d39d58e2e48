"""Forecast the time and power of a comparison from a few training steps, before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf
from pathlib import Path
from statistics import median

import torch

from saam._core.devices import best_device, require_device, threads_set
from saam._core.modes import mode
from saam._core.random import generators_kept
from saam.comparison.comparison import load_comparison
from saam.comparison.driver import default_workers
from saam.comparison.plan import Plan
from saam.comparison.plan_file import check_setting, kept_precision
from saam.comparison.precision import resolve_precision
from saam.comparison.rehearsal import try_networks
from saam.comparison.signflip import detectable
from saam.comparison.statistics import seeds_needed
from saam.data import load_data
from saam.measure import peak_memory, take_turns
from saam.training import Group, Stepper

__all__ = ["Forecast", "forecast"]

_STEPS = 5


@dataclass(frozen=True)
class Forecast:
    """The forecast of a comparison.

    Attributes:
        runs: Number of runs that are left.
        seconds: Time of all runs with the given parallelism, as for the plain backbone, without the extra time of slow
            attention and the few seconds in which a worker starts.
        memory: Bytes that the tensors of one run hold.
        disk: Bytes of their networks.
        difference: The smallest true difference in the primary metric that a paired t-test at .05 shows with
            probability .8, for a single arm and a fixed number of seeds, if paired differences spread as the plan
            expects; infinite with fewer seeds than ``seeds_needed``.
        seeds_needed: The smallest number of seeds that can decide one of the arms.
    """

    runs: int
    seconds: float
    memory: float
    disk: float
    difference: float
    seeds_needed: int


def forecast(
    plan: Plan,
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    threads: int = 1,
    device: str | Sequence[str] | None = None,
) -> Forecast:
    """Measure a few training steps of the plain backbone and forecast the runs that are left of a plan.

    Seeds that are added later, until the arms are told, are not among it. Nothing is written.

    Args:
        plan: The comparison.
        out: Folder whose finished runs need not be repeated; it need not exist. None means that there is none.
        workers: Number of parallel runs; None means one per processor, or per device.
        threads: Number of threads of each run.
        device: Name for torch, or several.

    Raises:
        ValueError: If a model, data set or device does not exist, or the folder holds another comparison or a damaged
            file.
        FileNotFoundError: If the data do not exist.
    """
    devices = [device] if device is None or isinstance(device, str) else list(device)
    for name in devices:
        require_device(name)
    place, recipe = best_device(devices[0]), plan.recipe
    splits = load_data(plan.data, **plan.data_options)
    model = try_networks(plan, classes=len(splits.classes), image_size=splits.train.shape)
    recipe = resolve_precision(
        plan.recipe,
        model,
        image_size=splits.train.shape,
        images=len(splits.train),
        threads=threads,
        device=place,
        known=kept_precision(Path(out)) if out else "",
    )
    finished = _finished(Path(out), replace(plan, recipe=recipe), splits.fingerprint) if out else set()
    size = recipe.for_images(len(splits.train)).batch_size
    with threads_set(threads), generators_kept(place), mode(model, training=True):
        stepper = Stepper(model, recipe, Group(0, 1, place))
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(size, 3, *splits.train.shape, generator=generator)
        y = torch.randint(len(splits.classes), (size,), generator=generator)
        memory = peak_memory(lambda: stepper.step(x, y, 0.5), model.parameters())
        times = take_turns({"step": lambda: stepper.step(x, y, 0.5)}, rounds=_STEPS, device=place)["step"]
    # a forward pass is a third of a step; the test images are scored once
    images = recipe.epochs * (len(splits.train) + len(splits.validation) / 3) + len(splits.test) / 3
    parameters = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    runs, needed = len(set(plan.schedule()) - finished), seeds_needed(max(1, len(plan.arms) - 1))
    side_by_side = workers or (len(devices) if len(devices) > 1 else default_workers(threads, place))
    return Forecast(
        runs=runs,
        seconds=median(times) * images / size * ceil(runs / side_by_side),
        memory=memory,
        disk=runs * parameters,
        difference=detectable(len(plan.seeds)) * plan.metrics[0].spread if len(plan.seeds) >= needed else inf,
        seeds_needed=needed,
    )


def _finished(out: Path, plan: Plan, fingerprint: str) -> set[tuple[str, int]]:
    """Return the arms and seeds of the runs that a folder holds."""
    check_setting(out, plan, fingerprint)
    if not (out / "plan.json").is_file():
        return set()
    return {(record.arm, record.seed) for record in load_comparison(out).records}
