"""The trained networks of a folder of saam compare, saam train or saam.save, with their data where they are known."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from saam._core.errors import unknown
from saam._core.options import parse_options
from saam._version import __version__
from saam.comparison.comparison import Comparison, load_comparison
from saam.comparison.plan import Plan
from saam.comparison.plan_data import load_kept_splits, preprocessing_for
from saam.comparison.records import RunRecord
from saam.comparison.task import TaskPlan
from saam.comparison.trained import load_model
from saam.data import Splits, load_data, load_kept_data
from saam.models import Preprocessing, load, preprocessing_of

__all__ = ["SavedRun", "open_run", "open_seeds"]

_Choice = Callable[[Mapping[int, RunRecord]], Iterable[int]]


@dataclass(frozen=True, eq=False)
class SavedRun:
    """Trained networks that differ in the seed only, and where they come from.

    Attributes:
        folder: Their folder.
        title: The run in a few words, such as "demo, saam, seed 0".
        name: A name for files, such as "demo-saam-0".
        networks: Seed -> network, on the CPU in evaluation mode; seed 0 for a network that is not from a comparison.
        data: Name and options of the data set that replaces that of the run; None for the run's own.
        plan: The plan of their comparison; None for a network that is not from one.
    """

    folder: Path
    title: str
    name: str
    networks: Mapping[int, nn.Module]
    data: tuple[str, dict[str, Any]] | None = None
    plan: Plan | None = None

    @property
    def network(self) -> nn.Module:
        """The network; the first one of several."""
        return next(iter(self.networks.values()))

    @cached_property
    def splits(self) -> Splits:
        """The data set, loaded at the first access.

        Raises:
            FileNotFoundError: If the data are not on this machine.
            ValueError: If the run does not say what it was trained on, a file may not set one of the options, or the
                data that replace those of the run have other classes or another image size than the network.
        """
        if self.data is not None:
            return self._replacement(*self.data)
        if self.plan is not None:
            return load_kept_splits(self.plan)
        try:
            kept = _config(self.folder)["data"]
            name, options = str(kept["name"]), dict(kept["options"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{self.folder} does not say on what data the network was trained: pass --data NAME (saam explain "
                "also takes images of your own, --image)"
            ) from None
        return load_kept_data(name, **options)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How images become the input of the networks: as they say, else as follows from the data set.

        Raises:
            ValueError: If neither is known.
        """
        found = preprocessing_of(self.network)
        if found is not None:
            return found
        try:
            return preprocessing_for(self.splits)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{self.folder} does not say how images become the input of the network, and its data do not tell "
                f"({error}): pass --data NAME, the data set that it was trained on, or set network.preprocessing = "
                "saam.models.Preprocessing(size=..., mean=..., std=..., classes=...) and save it again"
            ) from error

    def _replacement(self, name: str, options: dict[str, Any]) -> Splits:
        """Load other data than the run's own, with the colour statistics that the network was trained with."""
        splits, known = load_data(name, **options), preprocessing_of(self.network)
        if known is None:
            return splits
        if (splits.classes, splits.train.shape) != (known.classes, known.size):
            expected, got = (
                f"{len(classes)} classes ({', '.join(classes):.80}) and {height} x {width} pixels"
                for classes, (height, width) in ((known.classes, known.size), (splits.classes, splits.train.shape))
            )
            raise ValueError(
                f"expected data like those of {self.title}, with {expected}, got {name} with {got}: pass another "
                "--data, or its option size"
            )
        return replace(splits, mean=known.mean, std=known.std)


def open_run(
    folder: str | Path, *, arm: str | None = None, seed: int | None = None, data: str | None = None
) -> SavedRun:
    """Load the network of a run.

    Args:
        folder: Folder of saam compare, saam train or :func:`saam.save`.
        arm: Arm of a comparison. None takes its focus arm.
        seed: Seed of the arm. None takes the finished one with the highest validation accuracy.
        data: Data set, with options as in "PATH,size=224", that replaces the run's own. None uses that of the run.

    Raises:
        FileNotFoundError: If there is no such folder, it holds no network, or the arm has no finished run.
        ValueError: If a file is damaged or was written by another version, there is no such arm or seed, or one is
            given for a network that is not from a comparison.
    """
    return _open(Path(folder), arm, seed, data, _most_accurate)


def open_seeds(
    folder: str | Path, *, arm: str | None = None, seed: int | None = None, data: str | None = None
) -> SavedRun:
    """Load the networks of all finished seeds of an arm, or of one seed.

    Args:
        folder: As for :func:`open_run`.
        arm: As for :func:`open_run`.
        seed: Seed of the arm. None takes all finished ones.
        data: As for :func:`open_run`.

    Raises:
        FileNotFoundError: As :func:`open_run`.
        ValueError: As :func:`open_run`.
    """
    return _open(Path(folder), arm, seed, data, sorted)


def _open(folder: Path, arm: str | None, seed: int | None, data: str | None, choose: _Choice) -> SavedRun:
    """Open a folder; ``choose`` selects among the finished seeds of a comparison if none is given."""
    replacement = None if data is None else parse_options(data)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: pass a folder of saam compare, saam train or saam.save")
    name = folder.resolve().name
    if (folder / "study.json").is_file():
        raise ValueError(f"{folder} holds a study: pass one of the comparisons in it")
    if (folder / "plan.json").exists():
        comparison = load_comparison(folder)
        plan = _plan(folder, comparison)
        arm, finished = _finished(folder, plan, comparison.records, arm)
        if seed is not None and seed not in finished:
            raise ValueError(f"{folder} has no finished run of {arm!r} with seed {seed}: expected one of {[*finished]}")
        networks = {each: load_model(folder, arm, each) for each in (choose(finished) if seed is None else [seed])}
        one = [str(each) for each in networks] if len(networks) == 1 else []
        title = ", ".join([name, arm, *(f"seed {each}" for each in one)])
        file = "-".join([name, "".join(letter if letter.isalnum() else "-" for letter in arm), *one])
        return SavedRun(folder, title, file, networks, replacement, plan)
    if arm is not None or seed is not None:
        raise ValueError(f"{folder} holds one network, not a comparison: leave out arm and seed")
    return SavedRun(folder, name, name, {0: _load(folder)}, replacement)


def _plan(folder: Path, comparison: Comparison) -> Plan:
    """Return the plan of a comparison, unless only a function of the user's own can build its networks."""
    if isinstance(comparison.plan, TaskPlan):
        raise ValueError(
            f"{folder} holds a comparison of the function {comparison.plan.task}, which alone can build its networks: "
            "build one, load its weights, and pass it to saam.explain.explain or saam.export.to_onnx"
        )
    return comparison.plan


def _finished(
    folder: Path, plan: Plan, records: Sequence[RunRecord], arm: str | None
) -> tuple[str, dict[int, RunRecord]]:
    """Return an arm, by default the focus arm, and its finished runs by seed."""
    arm = arm or plan.focus
    if arm not in plan.arms:
        raise unknown("arm", arm, plan.arms)
    finished = {record.seed: record for record in records if record.arm == arm}
    if not finished:
        others = ", ".join(dict.fromkeys(record.arm for record in records))
        choice = f"choose one that has (--arm): {others}; or" if others else "none of its arms has;"
        raise FileNotFoundError(
            f"{folder} has no finished run of {arm!r}: {choice} continue with saam compare --plan "
            f"{folder / 'plan.json'} --out {folder}"
        )
    return arm, finished


def _most_accurate(finished: Mapping[int, RunRecord]) -> list[int]:
    """Return the seed with the highest validation accuracy, the first of equals."""
    return [max(finished, key=lambda seed: finished[seed].validation.get("accuracy", 0.0))]


def _load(folder: Path) -> nn.Module:
    """Load a single network; an error names the version of saam that wrote it, if it was another one."""
    try:
        return load(folder)
    except ValueError as error:
        versions = _config(folder).get("versions")
        wrote = versions.get("saam") if isinstance(versions, dict) else None
        if wrote in (None, __version__):
            raise
        raise ValueError(
            f"{folder} was written by saam {wrote!s:.20}, and this is saam {__version__}, which cannot read it "
            f"({error}): install that version"
        ) from error


def _config(folder: Path) -> dict[str, Any]:
    """Return what a folder says of its network; nothing if that is damaged."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
