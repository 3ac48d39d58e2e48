"""Write the pages of docs/results/ from the records beside them, so that no figure can drift from the runs.

    python docs/results.py                      write the pages
    python docs/results.py --check              fail if a page is not what the records say
    python docs/results.py --take FOLDER NAME   copy the records that ``saam study`` left, then write the pages

The folder of a page, docs/results/NAME/, holds the records: those of a study, as ``saam study`` leaves them without
networks and scores by image, or a folder of records for each table. What the page says in words is in NAME.txt: text,
with {tables} where the tables stand.
"""

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from saam.comparison import Comparison, RunRecord
from saam.comparison.study_run import study_results
from saam.report.formats import formatted
from saam.report.overview import overview
from saam.report.words import duration

FOLDER = Path(__file__).parent / "results"
REFERENCE = "se"


def pages() -> dict[Path, str]:
    """Return file -> text of every page."""
    return {words.with_suffix(".md"): page(words) for words in sorted(FOLDER.glob("*.txt"))}


def page(words: Path) -> str:
    """Return the text of one page."""
    folder = words.with_suffix("")
    if (folder / "study.json").is_file():
        sections = [study_section(name, comparison) for name, comparison in study_results(folder)[1].items()]
    else:
        sections = [section(each) for each in sorted(folder.iterdir()) if each.is_dir()]
    made = "<!-- Made by docs/results.py from the records; edit the .txt, not this page. -->\n\n"
    return made + words.read_text().replace("{tables}", "\n".join(sections).strip())


def study_section(name: str, comparison: Comparison) -> str:
    """Return heading, circumstances, table, verdicts and notes of one comparison of a study."""
    view, records, plan = overview(comparison), comparison.records, comparison.plan
    recipe = records[0].recipe
    counts = sorted({row.runs for row in view.rows})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    lines = [
        f"## {name}",
        "",
        f"{plan.model} on {records[0].data}: {recipe['epochs']} epochs, batches of {recipe['batch_size']}, "
        f"learning rate {recipe['learning_rate']:g} ({recipe['schedule']}), weight decay {recipe['weight_decay']:g}, "
        f"precision {recipe['precision']}; {seeds} seed{'s' if counts[-1] > 1 else ''} an arm, {len(records)} runs, "
        f"{duration(sum(record.seconds for record in records))} of training, threads of a run: "
        f"{', '.join(values(records, 'threads'))}, torch {', '.join(values(records, 'torch'))} on "
        f"{', '.join(values(records, 'cpu'))}.",
    ]
    lines += ["", formatted(comparison, "markdown")]
    lines += [f"- {sentence}." for sentence in view.verdicts]
    return "\n".join([*lines, *(f"- {note}" for note in view.notes), ""])


def take(folder: Path, name: str) -> None:
    """Copy the records of a study; a data set that was read from a folder gets the name that the study has for it."""
    study, results = study_results(folder)
    goal = FOLDER / name
    shutil.rmtree(goal, ignore_errors=True)
    goal.mkdir()
    shutil.copy(folder / "study.json", goal)
    named = {cell: plan.data for cell, plan in study.cells().items()}
    for cell, comparison in results.items():
        if not comparison.records:  # just begun
            continue
        (goal / cell / "runs").mkdir(parents=True)
        content = json.loads((folder / cell / "plan.json").read_text())
        content["plan"]["data"] = named[cell]
        (goal / cell / "plan.json").write_text(json.dumps(content, indent=1) + "\n")
        costs = folder / cell / "costs.json"
        for file in (*(folder / cell / "runs").glob("*.json"), *([costs] if costs.is_file() else [])):
            shutil.copy(file, goal / cell / file.relative_to(folder / cell))


def section(folder: Path) -> str:
    """Return heading, circumstances and table of one folder of records."""
    records = [RunRecord.from_json(json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]
    first, recipe = records[0], records[0].recipe
    hours = sum(record.seconds for record in records) / 3600
    options = "".join(f", {name}={value}" for name, value in first.model_options.items())
    starts = sorted({record.start for record in records if record.start})
    return "\n".join(
        [
            f"## {folder.name.partition('-')[2].replace('-', ' ').capitalize()}",
            "",
            f"{first.model}{options}, {first.data}: {recipe['epochs']} epochs, batches of {recipe['batch_size']}, "
            f"learning rate {recipe['learning_rate']:g} ({recipe['schedule']}), weight decay "
            f"{recipe['weight_decay']:g}, attention started as {' or '.join(starts)}. {len(records)} runs, {hours:.1f} "
            f"hours of one busy core each, torch {', '.join(values(records, 'torch'))} on "
            f"{', '.join(values(records, 'cpu'))}.",
            "",
            *table(records),
            "",
        ]
    )


def table(records: Sequence[RunRecord]) -> list[str]:
    """Return the rows: losses (nats) and accuracy (%) at the last epoch, mean over seeds, and the use of the scores."""
    by_arm: dict[str, dict[int, RunRecord]] = {}
    for record in records:
        by_arm.setdefault(record.arm, {})[record.seed] = record
    rows = [
        f"| arm | seeds | training loss | validation loss | minus {REFERENCE}'s, same seeds | accuracy % | share of "
        "pixels, site by site | largest lift |",
        "|---|---:|---:|---:|---:|---:|---|---:|",
    ]
    for arm, runs in sorted(by_arm.items(), key=lambda entry: loss(entry[1].values())):
        pairs = [
            run.validation["loss"] - by_arm[REFERENCE][seed].validation["loss"]
            for seed, run in runs.items()
            if seed in by_arm.get(REFERENCE, {})
        ]
        used = use(runs.values())
        cells = [
            f"`{arm}`",
            str(len(runs)),
            f"{fmean(run.curve[-1]['train_loss'] for run in runs.values()):.3f}",
            f"{loss(runs.values()):.3f}",
            "" if arm == REFERENCE else difference(pairs),
            f"{fmean(run.validation['accuracy'] for run in runs.values()):.1f}",
            " ".join(f"{share:.2f}" for share, _ in used),
            f"{max(lift for _, lift in used):.1f}" if used else "",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def loss(runs: Iterable[RunRecord]) -> float:
    """Return the mean validation loss."""
    return fmean(run.validation["loss"] for run in runs)


def difference(pairs: list[float]) -> str:
    """Return the mean and, from two pairs on, its standard error."""
    if not pairs:
        return ""
    error = f" ± {stdev(pairs) / len(pairs) ** 0.5:.3f}" if len(pairs) > 1 else ""
    return f"{fmean(pairs):+.3f}{error}".replace("-", "\N{MINUS SIGN}")


def use(runs: Iterable[RunRecord]) -> list[tuple[float, float]]:
    """Return (share, lift) at every site after the last epoch, mean over seeds."""
    last: list[Mapping[str, Mapping[str, float]]] = [run.curve[-1]["observed"].get("score_use", {}) for run in runs]
    return [
        (fmean(each[site]["share"] for each in last), fmean(each[site]["lift"] for each in last)) for site in last[0]
    ]


def values(records: Iterable[RunRecord], name: str) -> list[str]:
    """Return what the environments of runs have under a name."""
    return list(dict.fromkeys(str(record.environment.get(name, "an unnamed machine")) for record in records))


def main() -> None:
    """Write the pages, or check them."""
    if sys.argv[1:2] == ["--take"]:
        take(Path(sys.argv[2]), sys.argv[3])
    texts = pages()
    if "--check" not in sys.argv[1:]:
        for path, text in texts.items():
            path.write_text(text)
        return
    for path, text in texts.items():
        if not path.is_file() or path.read_text() != text:
            sys.exit(f"{path} is not what its records say; run: python docs/results.py")


if __name__ == "__main__":
    main()
