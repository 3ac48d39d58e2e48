"""Run a study, one comparison after the other, and read what its folder holds.

OUT/study.json   the study
OUT/<name>/      one comparison, see `saam.comparison.store`
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from math import inf
from pathlib import Path
from typing import Any

import torch

from saam._core.files import json_bytes, write_atomically
from saam.comparison.comparison import Comparison, load_comparison
from saam.comparison.driver import drive
from saam.comparison.network import build_model
from saam.comparison.plan import Plan
from saam.comparison.records import read_json
from saam.comparison.study import Study, StudyError
from saam.comparison.tracking import tracked
from saam.training.tracking import require_trackers

__all__ = ["check_networks", "run_study", "study_results"]

_FILE = "study.json"


def check_networks(study: Study) -> None:
    """Build every network of a study, without memory and without published weights: what is wrong shows here.

    Raises:
        ValueError: No such model or placement, or an option out of its range.
        TypeError: An option that a model or an attention does not have.
    """
    for plan in {plan.model + repr(plan.model_options): plan for plan in study.cells().values()}.values():
        options = {name: value for name, value in plan.model_options.items() if name != "pretrained"}
        for arm in plan.arms:
            if not arm.startswith("wider"):
                with torch.device("meta"):
                    build_model(replace(plan, model_options=options), arm, seed=0, classes=10)


def run_study(
    study: Study,
    out: str | Path,
    *,
    places: Mapping[str, str] | None = None,
    on_cell: Callable[[str, Plan], AbstractContextManager[Callable[[Comparison], object]]] | None = None,
    budget: float = inf,
    track: str | Sequence[str] = (),
    **settings: Any,
) -> dict[str, Comparison]:
    """Run the comparisons of a study, one after the other, each in a folder of its own.

    Args:
        study: The grid.
        out: Folder of the results.
        places: As `Study.cells` takes it.
        on_cell: Called with name and plan for each comparison. It returns a context manager around that comparison,
            whose value is called with the comparison so far, as ``on_progress`` of `saam.compare`.
        budget: Seconds of the whole study after which no seed is added any more.
        track: As `saam.compare` takes it.
        settings: Of `saam.comparison.driver.drive`.

    Returns:
        The comparisons by name.

    Raises:
        TypeError: As for `saam.compare`.
        ValueError: As for `saam.compare`.
        OSError: The folder cannot be written.
    """
    out, begun = Path(out), time.monotonic()
    if study.until_told:
        settings = {"max_seeds": study.max_seeds, **settings}
    require_trackers([track] if isinstance(track, str) else track)
    check_networks(study)
    results = {}
    for name, plan in study.cells(places).items():
        around = nullcontext(settings.get("on_progress")) if on_cell is None else on_cell(name, plan)
        with around as on_progress:
            tell = _keeping(study, out, on_progress)
            cell = {**settings, "on_progress": tell, "budget": budget - (time.monotonic() - begun)}
            with tracked(track, out / name, cell) as chosen:
                results[name] = drive(plan, out / name, **chosen)
    return results


def _keeping(
    study: Study, out: Path, on_progress: Callable[[Comparison], object] | None
) -> Callable[[Comparison], object]:
    """Return an ``on_progress`` that first writes the study: when a comparison has begun, and so was not refused."""
    written = False

    def tell(comparison: Comparison) -> None:
        nonlocal written
        if not written:
            write_atomically({out / _FILE: json_bytes(asdict(study))})
            written = True
        if on_progress is not None:
            on_progress(comparison)

    return tell


def study_results(out: str | Path) -> tuple[Study, dict[str, Comparison]]:
    """Return the study whose results a folder holds, and its comparisons by name, as far as they have got.

    Raises:
        FileNotFoundError: It holds none.
        ValueError: A file is damaged; the error names it.
    """
    file = Path(out) / _FILE
    if not file.is_file():
        raise FileNotFoundError(f"{out} holds no study: expected {_FILE} in it; run saam study first")
    try:
        study = Study(**read_json(file))
    except TypeError as error:
        raise ValueError(f"{file} does not hold a study ({error}); delete it and run the study again") from None
    except StudyError as error:
        raise ValueError(f"{file} does not hold a study: {error}; delete it and run the study again") from None
    folders = {name: file.parent / name for name in study.cells()}
    begun = {name: load_comparison(path) for name, path in folders.items() if (path / "plan.json").is_file()}
    if not begun:
        raise FileNotFoundError(f"{out} holds a study, but none of its comparisons: run the study again")
    return study, begun
