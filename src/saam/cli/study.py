"""``saam study``: a grid of comparisons."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from saam.cli.executors import HERE, Running
from saam.cli.forecasts import show_forecasts
from saam.cli.report import conclude, conclude_study
from saam.cli.screen import AsJson, print_json, screen, show_data, shown
from saam.comparison import Comparison, Plan
from saam.comparison.forecast import forecast
from saam.comparison.study import load_study
from saam.comparison.study_run import check_networks, run_study
from saam.report.document import study_document

__all__ = ["command"]


def command(
    study: str = "demo",
    /,
    *,
    out: Path | None = None,
    data: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    dry_run: bool = False,
    running: Running = HERE,
    as_json: AsJson = False,
) -> int:
    """Run a study from one file: models x data sets x arms x seeds, with one report over all of them.

    To resume an interrupted study, even in the middle of a run, run the same command again.

    Parameters
    ----------
    study
        A TOML file, or the name of a study that comes with saam: ablation, cifar, cifar-more, cifar-small, clutter,
        demo, folder.
    out
        Folder for the results. Default: named after the study.
    data
        Replacement for a data set of the study, as in "cifar100=PATH".
    dry_run
        Run nothing; print the number of runs that are left, their time, memory and disk space, and the smallest
        difference to detect.
    as_json
        Print only one JSON document on standard output.
    """
    chosen = load_study(study)
    places = dict(_place(text) for text in data)
    if unknown := places.keys() - {text.partition(",")[0].strip() for text in chosen.data}:
        raise ValueError(
            f"--data {sorted(unknown)[0]}=...: the study has no such data set, only {', '.join(chosen.data)}"
        )
    if running.budget and not chosen.until_told:
        raise ValueError("--budget limits the seeds that are added until told: this study has a fixed number of seeds")
    out = out or Path(f"saam-{Path(study).stem}")
    budget = running.seconds
    console = screen(errors=as_json)
    if dry_run:
        check_networks(chosen)
        measure = partial(forecast, workers=running.workers, threads=running.threads, device=running.devices)
        told = {name: measure(plan, out / name) for name, plan in chosen.cells(places).items()}
        unit = next(iter(chosen.cells().values())).metrics[0].difference_unit
        until = chosen.max_seeds if chosen.until_told else None
        show_forecasts(console, told, unit=unit, as_json=as_json, until=until)
        return 0

    @contextmanager
    def on_cell(name: str, plan: Plan) -> Iterator[Callable[[Comparison], None]]:
        console.print(f"\n{name}: {', '.join(plan.arms)}", style="bold", soft_wrap=True)
        with shown(console, costs=running.costs) as show:
            yield show

    with running.started() as settings:
        results = run_study(
            chosen,
            out,
            places=places,
            on_cell=on_cell,
            budget=budget,
            on_data=partial(show_data, console),
            **settings,
        )
    for name, comparison in results.items():
        console.print(f"\n{name}", style="bold", soft_wrap=True)
        conclude(console, out / name, comparison)
    console.print()
    conclude_study(console, out, chosen, results)
    if as_json:
        print_json(study_document(chosen, results))
    return int(any(comparison.failures for comparison in results.values()))


def _place(text: str) -> tuple[str, str]:
    name, _, place = text.partition("=")
    if not name or not place:
        raise ValueError(f"expected NAME=PATH for --data, got {text!r}")
    return name, place
