"""``saam compare``: compare attentions."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from saam.cli.executors import HERE, Running
from saam.cli.forecasts import show_forecasts
from saam.cli.numbers import Count, Whole
from saam.cli.outputs import default_out
from saam.cli.report import conclude
from saam.cli.screen import AsJson, print_json, screen, show_data, shown
from saam.comparison import ACCURACY, LOSS, Plan, compare
from saam.comparison.forecast import forecast
from saam.comparison.plan_file import load_plan
from saam.comparison.schedule import MOST_SEEDS
from saam.report.document import document

__all__ = ["command"]


def command(
    *,
    data: str = "photo-digits,train=8500,digit_size=(20,28),distractors=0",
    model: str = "resnet8,stem_stride=2",
    arms: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = ("none", "wider", "se", "saam"),
    seeds: Whole | None = None,
    recipe: str = "demo",
    where: str = "residual",
    start: Literal["default", "identity"] = "identity",
    reference: str = "",
    focus: str = "",
    plan: Path | None = None,
    dry_run: bool = False,
    out: Path | None = None,
    until_told: bool = False,
    max_seeds: Count | None = None,
    delta: float | None = None,
    running: Running = HERE,
    quiet: bool = False,
    as_json: AsJson = False,
) -> int:
    """Compare attentions on images, and write a report.

    Trains every arm with every seed. For one seed, all arms share the backbone's initial weights, the order of the
    images and every augmentation draw. The test set is opened once, after the last epoch. To resume an interrupted
    comparison, even in the middle of a run, run the same command again. Several machines that share the folder also
    share the work. Options follow a name, as in "resnet20,width=32".

    Parameters
    ----------
    data
        Data set (saam list data), image folder, or folder of parquet files.
    model
        Backbone (saam list models).
    arms
        Attentions (saam list), with options as in "eca,squeeze=score"; "none" for the plain backbone; "wider" for a
        plain backbone with as many parameters as that of the focus arm, "wider:time" for one that takes as long;
        package.module:Class for your own.
    seeds
        Number of seeds, starting at 0. Default: 7.
    recipe
        Training recipe (saam list recipes), with changes as in "cifar,epochs=30".
    where
        Placement of the attention: residual, stage, conv, head, attention, or a pattern of module names.
    start
        "identity": attention changes nothing at first, so all arms of a seed start as the same function. "default":
        attention starts as in the papers, where most gates halve their branch at first.
    reference
        Arm to compare the others with. Default: "none", or else the first.
    focus
        Arm that the report is about. Default: the first of your own, else the first score-based one, else the last that
        is neither a control nor the reference.
    plan
        plan.json of an earlier comparison. Replaces all options above except --seeds. It also contains --delta.
    dry_run
        Run nothing; print the number of runs that are left, their time, memory and disk space, and the smallest
        difference to detect.
    out
        Folder for records, networks and report.html. An existing folder keeps its finished runs, and the report is
        about the arms and seeds that are given now; another setting is refused. Default: a name made from the data and
        the model.
    until_told
        Add seeds for the arms that are still undecided against the reference, until all are decided. The verdict is
        valid whenever this stops.
    max_seeds
        Largest number of seeds that --until-told may reach. Default: 40.
    delta
        Arms that differ by less than this are equivalent, in points of accuracy. Default: 0.5.
    as_json
        Print only one JSON document on standard output.
    quiet
        Print only the table and the verdicts.
    """
    count = 7 if seeds is None else seeds
    if count < 1:
        raise ValueError(f"a comparison needs seeds: expected a number of 1 or more, got {count}")
    if count > MOST_SEEDS:
        raise ValueError(f"expected at most {MOST_SEEDS:,} seeds, got {count}")
    if not until_told and (max_seeds or running.budget):
        limit = "--max-seeds" if max_seeds else "--budget"
        raise ValueError(f"{limit} limits the seeds that --until-told adds: add --until-told, or leave out {limit}")
    if seeds and max_seeds and max_seeds < seeds:
        raise ValueError(f"--max-seeds must be at least the number of seeds, {seeds}, got {max_seeds}")
    most = (max_seeds or 40) if until_told else None
    if plan:
        if delta is not None:
            raise ValueError("--delta is part of the plan: leave out --delta, or --plan")
        chosen = load_plan(plan)
        chosen = replace(chosen, seeds=tuple(range(seeds))) if seeds else chosen
    else:
        chosen = Plan.of_texts(
            model,
            data,
            recipe,
            where=where,
            start=start,
            arms=arms,
            seeds=tuple(range(count)),
            reference=reference,
            focus=focus,
        )
        if delta is not None:
            chosen = replace(chosen, metrics=(replace(ACCURACY, delta=delta), LOSS))
    out = out or _default_out(chosen)
    budget = running.seconds
    console = screen(errors=as_json)
    if dry_run:
        measure = partial(forecast, workers=running.workers, threads=running.threads, device=running.devices)
        told = {out.name: measure(chosen, out)}
        show_forecasts(console, told, unit=chosen.metrics[0].difference_unit, as_json=as_json, until=most)
        return 0

    with running.started() as settings, shown(console, quiet=quiet, costs=running.costs) as show:
        comparison = compare(
            chosen,
            out,
            max_seeds=most,
            budget=budget,
            on_data=None if quiet else partial(show_data, console),
            on_progress=show,
            **settings,
        )
    console.print()
    conclude(console, out, comparison)
    if as_json:
        print_json(document(comparison))
    return int(bool(comparison.failures))


def _default_out(plan: Plan) -> Path:
    """Return the same folder for all arms and seeds of a setting."""
    free = ("arms", "seeds", "reference", "focus", "aliases", "stopped")
    setting = {key: value for key, value in plan.to_json().items() if key not in free}
    return default_out(plan.data, plan.model, setting)
