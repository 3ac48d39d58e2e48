"""One call for every comparison: of a plan, of networks on a data set, or of the user's own training function."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from saam._core.options import parse_options
from saam.comparison.driver import drive
from saam.comparison.metrics import Metric
from saam.comparison.plan import Plan
from saam.comparison.store import Comparison
from saam.comparison.task import TaskPlan
from saam.comparison.tracking import tracked
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
    track: str | Sequence[str] = (),
    **settings: Any,
) -> Comparison:
    """Compare attentions: train each with the same seeds, and store the results in a folder.

    Finished runs are kept, so the same call resumes an interrupted comparison. In a script, put the call under
    ``if __name__ == "__main__":``, because worker processes import the script.

    Args:
        what: One of three. A plan. A network, together with ``data``: a name with options as in "resnet20,width=32", or
            your own class or function that takes ``num_classes`` and returns the network. Your own training function,
            ``task(arm, seed, context)``, with ``metrics``; see `saam.comparison.TaskPlan`. Define your own classes and
            functions at the top level of a file.
        data: Data set with options, image folder, or folder of parquet files. With a plan or a training function, this
            positional argument may be the folder of the results.
        out: Folder of the results.
        arms: Attentions: names, or your own classes that take the number of channels; or a mapping from labels to
            these.
        seeds: Number of seeds, starting at 0, or the seeds themselves.
        recipe: Training recipe, or its name with changes as in "cifar,epochs=30".
        metrics: The results of a training function, the primary metric first.
        options: Options of the network, or the ``context.options`` of a training function.
        where: Placement of the attention.
        start: "identity" or "default".
        reference: The arm to compare the others with.
        focus: The arm that the report is about.
        track: "tensorboard", "wandb" or "mlflow", or several, to log the curve of every run there while it trains.
        settings: Arguments of `saam.comparison.driver.drive`: workers, threads, executor, device, costs, retry,
            max_seeds, budget and the callbacks.

    Returns:
        The comparison.

    Raises:
        TypeError: If there is no folder for the results, or none of plan, data and metrics is given.
        ValueError: If a model, data set, attention or option does not exist, or the folder holds another comparison.
        ModuleNotFoundError: If a tracker is not installed.
        OSError: If the folder cannot be written.
    """
    if out is None and (metrics or isinstance(what, Plan | TaskPlan)):
        data, out = None, data
    if out is None:
        raise TypeError("expected a folder for the results: pass out=")
    if isinstance(what, Plan | TaskPlan):
        return _run(what, Path(out), track, settings)
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
        return _run(task, Path(out), track, settings)
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
    return _run(plan, Path(out), track, settings)


def _run(plan: Plan | TaskPlan, out: Path, track: str | Sequence[str], settings: Mapping[str, Any]) -> Comparison:
    with tracked(track, out, settings) as chosen:
        return drive(plan, out, **chosen)
