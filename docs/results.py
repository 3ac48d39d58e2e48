"""Write the pages of docs/results/ from the records beside them, so that no figure can drift from the runs.

    python docs/results.py           write the pages
    python docs/results.py --check   fail if a page is not what the records say

The folder of a page, docs/results/NAME/, holds one comparison or several, as `saam.comparison` leaves them, without the
networks. What the page says in words is in NAME.txt beside it: text, with {tables} where the tables stand.
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean, stdev

from saam.comparison import Comparison, RunRecord, load_comparison

FOLDER = Path(__file__).parent / "results"
REFERENCE = "se"


def pages() -> dict[Path, str]:
    """Return file -> text of every page."""
    return {words.with_suffix(".md"): page(words) for words in sorted(FOLDER.glob("*.txt"))}


def page(words: Path) -> str:
    """Return the text of one page."""
    folders = sorted(plan.parent for plan in words.with_suffix("").glob("*/plan.json"))
    made = "<!-- Made by docs/results.py from the records; edit the .txt, not this page. -->\n\n"
    return made + words.read_text().replace("{tables}", "\n".join(map(section, folders)).strip())


def section(folder: Path) -> str:
    """Return heading, table and circumstances of one comparison."""
    comparison = load_comparison(folder)
    records, plan = comparison.records, comparison.plan
    hours = sum(record.seconds for record in records) / 3600
    options = "".join(f", {name}={value}" for name, value in plan.model_options.items())
    recipe = plan.recipe
    return "\n".join(
        [
            f"## {folder.name.partition('-')[2].capitalize()}",
            "",
            f"{plan.model}{options}, {records[0].data}: {recipe.epochs} epochs, batches of {recipe.batch_size}, learning "
            f"rate {recipe.learning_rate:g} ({recipe.schedule}), weight decay {recipe.weight_decay:g}, attention "
            f"started as {plan.start}. {len(records)} runs, {hours:.1f} core-hours, torch "
            f"{', '.join(values(records, 'torch'))} on {', '.join(values(records, 'cpu'))}.",
            "",
            *table(comparison),
            "",
        ]
    )


def table(comparison: Comparison) -> list[str]:
    """Return the rows: losses in nats and accuracy in % at the last epoch, mean over seeds, and the use of the scores."""
    by_arm: dict[str, dict[int, RunRecord]] = {}
    for record in comparison.records:
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
    return f"{fmean(pairs):+.3f}{error}".replace("-", "−")


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
