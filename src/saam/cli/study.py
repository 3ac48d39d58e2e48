"""``saam study``: a grid of comparisons."""

from functools import partial
from math import inf
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from saam.cli.executors import Where, executor_of
from saam.cli.numbers import Count, seconds
from saam.cli.screen import screen, show_data, shown
from saam.comparison.forecast import forecast
from saam.comparison.study import load_study, run_study
from saam.report import write_report
from saam.report.over_images import over_images
from saam.report.study import study_table, write_study_report
from saam.report.words import count, duration

__all__ = ["command"]


def command(
    study: str = "demo",
    /,
    *,
    out: Path | None = None,
    data: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    dry_run: bool = False,
    workers: Count | None = None,
    threads: Count = 1,
    device: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    jobs_per_device: Count = 1,
    executor: Where = "processes",
    address: str = "",
    costs: bool = True,
    retry: bool = False,
    budget: str = "",
) -> None:
    """Run a study from one file: models x data sets x arms x seeds, with one report over all of them.

    To resume an interrupted study, even in the middle of a run, run the same command again.

    Parameters
    ----------
    study
        A TOML file, or the name of a study that comes with saam: ablation, cifar, cifar-small, demo, folder.
    out
        Folder for the results. Default: named after the study.
    data
        Replacement for a data set of the study, as in "cifar100=PATH".
    dry_run
        Run nothing; print the number of runs, their time, memory and disk space, and the smallest difference to detect.
    workers
        Number of parallel runs. Default: one per processor, or per device.
    threads
        Number of threads of each run.
    device
        One or several torch devices to distribute the runs over. Default: the best one.
    jobs_per_device
        Number of parallel runs on each device.
    executor
        Where the runs are executed: "processes" on this machine, or "ray" for the machines of a Ray cluster, which must
        have the same code.
    address
        Address of the Ray cluster. Default: the current one, or a new one on this machine.
    costs
        Measure the costs of the arms after the runs.
    retry
        Repeat runs that failed before.
    budget
        Time after which no seed is added, as in "90m" or "2h".
    """
    chosen = load_study(study)
    places = dict(_place(text) for text in data)
    if unknown := places.keys() - {text.partition(",")[0] for text in chosen.data}:
        raise ValueError(
            f"--data {sorted(unknown)[0]}=...: the study has no such data set, only {', '.join(chosen.data)}"
        )
    devices = [name for name in device for _ in range(jobs_per_device)]
    console = screen()
    if dry_run:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in ("comparison", "runs", "time", "memory a run", "disk", "smallest difference"):
            table.add_column(name, justify="left" if name == "comparison" else "right", no_wrap=True)
        for name, plan in chosen.cells(places).items():
            told = forecast(plan, workers=workers, threads=threads, device=devices or None)
            table.add_row(
                name,
                str(told.runs),
                duration(told.seconds),
                f"{count(told.memory)}B",
                f"{count(told.disk)}B",
                f"{told.difference:.2f} {plan.metrics[0].difference_unit}",
            )
        console.print(table)
        return
    out = out or Path(f"saam-{Path(study).stem}")
    run_cell = partial(
        run_study,
        chosen,
        out,
        places=places,
        workers=workers,
        threads=threads,
        device=devices or None,
        costs=costs,
        retry=retry,
        budget=seconds(budget) if budget else inf,
        on_data=partial(show_data, console),
    )
    runs_on = executor_of(executor, address=address, threads=threads, device=device, jobs_per_device=jobs_per_device)
    with runs_on as pool, shown(console) as show:
        results = run_cell(executor=pool, on_progress=show)
    for name, comparison in results.items():
        images = over_images(out / name, comparison)
        write_report(out / name / "report.html", comparison, images=images)
    console.print(study_table(results))
    write_study_report(out / "report.html", chosen, results)
    console.print(f"report: {out / 'report.html'}", soft_wrap=True)


def _place(text: str) -> tuple[str, str]:
    name, _, place = text.partition("=")
    if not name or not place:
        raise ValueError(f"expected NAME=PATH for --data, got {text!r}")
    return name, place
