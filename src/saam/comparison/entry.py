"""One call for every comparison: of a plan, of networks on a data set, or of the user's own training function."""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from saam._core.errors import no_option
from saam.comparison.comparison import Comparison
from saam.comparison.driver import drive
from saam.comparison.metrics import Metric
from saam.comparison.plan import Plan
from saam.comparison.task import TaskPlan
from saam.comparison.tracking import tracked
from saam.training import Recipe

__all__ = ["compare"]

Side = str | Callable[..., Any]

_SETTINGS = signature(drive).parameters.keys() - {"plan", "out"}


def compare(
    what: Plan | TaskPlan | str | Callable[..., Any],
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    arms: Sequence[Side] | Mapping[str, Side] | None = None,
    seeds: int | Sequence[int] | None = None,
    recipe: str | Recipe | None = None,
    metrics: Sequence[Metric] | None = None,
    options: Mapping[str, Any] | None = None,
    where: str | None = None,
    start: str | None = None,
    reference: str | None = None,
    focus: str | None = None,
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
            these. None means none, wider, se and saam; for a training function none, se and saam.
        seeds: Number of seeds, starting at 0, or the seeds themselves. None means 7.
        recipe: Training recipe, or its name with changes as in "cifar,epochs=30". None means "demo".
        metrics: The results of a training function, the primary metric first.
        options: Options of the network, or the ``context.options`` of a training function.
        where: Placement of the attention. None means "residual".
        start: "identity" or "default". None means "identity".
        reference: The arm to compare the others with.
        focus: The arm that the report is about.
        track: "tensorboard", "wandb" or "mlflow", or several, to log the curve of every run there while it trains.
        settings: Arguments of `saam.comparison.driver.drive`: workers, threads, executor, device, costs, retry,
            max_seeds, budget and the callbacks.

    Returns:
        The comparison.

    Raises:
        TypeError: If there is no folder for the results, none of plan, data and metrics is given, or an argument has
            no meaning for what is compared: a plan has all of them, and a training function has no recipe.
        ValueError: If a model, data set, attention or option does not exist, or the folder holds another comparison.
        ModuleNotFoundError: If a tracker is not installed.
        OSError: If the folder cannot be written.
    """
    if out is None and (metrics or isinstance(what, Plan | TaskPlan)):
        data, out = None, data
    if isinstance(arms, str):
        raise TypeError(f"expected the arms as a list, as in arms=['none', {arms!r}], got {arms!r}")
    if out is None:
        raise TypeError("expected a folder for the results: pass out=")
    ours = {"recipe": recipe, "where": where, "start": start}
    if isinstance(what, Plan | TaskPlan):
        sides = {"arms": arms, "seeds": seeds, "metrics": metrics, "options": options}
        _refuse("a plan", {**sides, "reference": reference, "focus": focus, "data": data, **ours})
        return _run(what, Path(out), track, settings)
    seeds = 7 if seeds is None else seeds
    chosen: dict[str, Any] = {
        "arms": ("none", *(() if data is None else ("wider",)), "se", "saam") if arms is None else arms,
        "seeds": tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds),
        "reference": reference or "",
        "focus": focus or "",
    }
    if data is None:
        if not metrics or isinstance(what, str):
            raise TypeError(
                "expected a plan, a network with data=, or a training function with metrics=, got "
                f"{what if isinstance(what, str) else getattr(what, '__name__', what)!r} alone"
            )
        _refuse("a training function", ours)
        task = TaskPlan(task=what, metrics=tuple(metrics), options=dict(options or {}), **chosen)  # type: ignore[arg-type]
        return _run(task, Path(out), track, settings)
    plan = Plan.of_texts(
        what,
        str(data),
        "demo" if recipe is None else recipe,
        options=options,
        where=where or "residual",
        start=start or "identity",
        **{**chosen, **({"metrics": tuple(metrics)} if metrics else {})},
    )
    return _run(plan, Path(out), track, settings)


def _refuse(what: str, arguments: Mapping[str, Any]) -> None:
    """Raise an error for arguments that have no meaning for what is compared."""
    if given := [name for name, value in arguments.items() if value is not None]:
        raise TypeError(f"{what} takes no {' and no '.join(given)}: leave out {'it' if len(given) == 1 else 'them'}")


def _run(plan: Plan | TaskPlan, out: Path, track: str | Sequence[str], settings: Mapping[str, Any]) -> Comparison:
    for name in settings.keys() - _SETTINGS:
        raise no_option("compare", name, sorted({*signature(compare).parameters, *_SETTINGS} - {"settings"}))
    with tracked(track, out, settings) as chosen:
        return drive(plan, out, **chosen)
