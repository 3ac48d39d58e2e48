"""One call for every comparison: of a plan, of networks on a data set, or of a training function of one's own."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from saam._core.options import parse_options
from saam.comparison.driver import drive
from saam.comparison.metrics import Metric
from saam.comparison.plan import Plan
from saam.comparison.store import Comparison
from saam.comparison.task import TaskPlan
from saam.training import Recipe, create_recipe

__all__ = ["compare"]

Side = str | Callable[..., Any]


def compare(
    what: Plan | TaskPlan | str | Callable[..., Any],
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    arms: Sequence[Side] | Mapping[str, Side] = ("none", "wider", "se", "saam"),
    seeds: int | Sequence[int] = 7,
    recipe: str | Recipe = "demo",
    metrics: Sequence[Metric] = (),
    options: Mapping[str, Any] | None = None,
    where: str = "residual",
    start: str = "identity",
    reference: str = "",
    focus: str = "",
    **settings: Any,
) -> Comparison:
    """Compare attentions: train each with the same seeds, and keep everything in a folder.

    What is finished stays; the same call goes on where it was stopped. A script needs ``if __name__ == "__main__":``
    around the call, since worker processes import it.

    Args:
        what: A plan. Or a network, together with ``data``: a name with options as in "resnet20,width=32", or a class or
            function of your own that takes ``num_classes`` and returns the network. Or a training function of your own,
            ``task(arm, seed, context)``, with ``metrics``; see `saam.comparison.TaskPlan`. Your own classes and
            functions must be at the top of a file.
        data: Data set with options, an image folder, or a folder of parquet files. After a plan or a training function
            the folder of the results may stand here.
        out: Folder of the results.
        arms: Attentions, as names or classes of your own that take the number of channels; or these by label.
        seeds: Number of seeds, from 0 up, or the seeds.
        recipe: Training recipe, or its name with changes as in "cifar,epochs=30".
        metrics: Of a training function: what it returns, the primary one first.
        options: Of the network, or what a training function finds in ``context.options``.
        where: Placement of the attention.
        start: "identity" or "default".
        reference: The arm that the others are compared with.
        focus: The arm that the report is about.
        settings: Of `saam.comparison.driver.drive`: workers, threads, executor, device, costs, retry, max_seeds, budget
            and the callbacks.

    Returns:
        The comparison.

    Raises:
        TypeError: If there is no folder for the results, or none of plan, data and metrics is given.
        ValueError: If a model, data set, attention or option does not exist, or the folder holds another comparison.
        OSError: If the folder cannot be written.
    """
    if out is None and (metrics or isinstance(what, Plan | TaskPlan)):
        data, out = None, data
    if out is None:
        raise TypeError("expected a folder for the results: pass out=")
    if isinstance(what, Plan | TaskPlan):
        return drive(what, out, **settings)
    sides: dict[str, Any] = {
        "arms": arms,
        "seeds": tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
        "reference": reference,
        "focus": focus,
    }
    if data is None:
        if not metrics or isinstance(what, str):
            raise TypeError(
                "expected a plan, a network with data=, or a training function with metrics=, got "
                f"{what if isinstance(what, str) else getattr(what, '__name__', what)!r} alone"
            )
        task = TaskPlan(task=what, metrics=tuple(metrics), options=dict(options or {}), **sides)  # type: ignore[arg-type]
        return drive(task, out, **settings)
    data, data_options = parse_options(str(data))
    model, model_options = parse_options(what) if isinstance(what, str) else (what, {})
    if isinstance(recipe, str):
        name, changes = parse_options(recipe)
        recipe = create_recipe(name, **changes)
    plan = Plan(
        model=model,  # type: ignore[arg-type]
        model_options={**model_options, **(options or {})},
        data=data,
        data_options=data_options,
        recipe=recipe,
        where=where,
        start=start,  # type: ignore[arg-type]
        **{**sides, **({"metrics": tuple(metrics)} if metrics else {})},
    )
    return drive(plan, out, **settings)
