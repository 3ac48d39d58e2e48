"""The network of a run: a folder of saam train, saam compare or saam.save, with its data where they are known."""

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from saam._core.options import parse_options
from saam._version import __version__
from saam.comparison import Comparison, TaskPlan, load_comparison, load_model
from saam.comparison.job import load_splits, preprocessing_for
from saam.data import Splits, load_data, load_kept_data
from saam.models import Preprocessing, load, preprocessing_of

__all__ = ["SavedRun", "open_run"]

_NEWER = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class SavedRun:
    """A trained network and where it comes from.

    Attributes:
        folder: Its folder.
        title: The run in a few words, such as "demo, saam, seed 0".
        name: A name for files.
        network: The network, on the CPU in evaluation mode.
        data: Name and options of another data set to use than that of the run; None uses the run's own.
    """

    folder: Path
    title: str
    name: str
    network: nn.Module
    data: tuple[str, dict[str, Any]] | None = None

    @cached_property
    def splits(self) -> Splits:
        """The data set of the run.

        Raises:
            ValueError: If the run does not say what it was trained on, or a file may not set one of the options.
            FileNotFoundError: If the data are not on this machine.
        """
        if self.data is not None:
            return load_data(self.data[0], **self.data[1])
        if (self.folder / "plan.json").exists():
            plan = load_comparison(self.folder).plan
            assert not isinstance(plan, TaskPlan)
            return load_splits(plan)
        try:
            kept = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))["data"]
            name, options = str(kept["name"]), dict(kept["options"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{self.folder} does not say on what data the network was trained: pass --data NAME"
            ) from None
        return load_kept_data(name, **options)

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How images become the input of the network, as the run says, or as follows from its data set.

        Raises:
            ValueError: If neither is known.
        """
        found = preprocessing_of(self.network)
        if found is not None and self.data is None:
            return found
        try:
            return preprocessing_for(self.splits)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{self.folder} does not say how images become the input of the network, and its data do not tell "
                f"({error}): pass --data NAME, the data set that it was trained on"
            ) from error


def open_run(
    folder: str | Path, *, arm: str | None = None, seed: int | None = None, data: str | None = None
) -> SavedRun:
    """Load the network of a run.

    Args:
        folder: Folder of saam train, saam compare or saam.save.
        arm: The arm of a comparison. None takes its focus arm.
        seed: The seed of the arm. None takes the one with the highest validation accuracy.
        data: Data set, with options as in "PATH,size=224", that replaces the run's own. None uses that of the run.

    Raises:
        FileNotFoundError: If there is no such run.
        ValueError: If a file is damaged or was written by another version, or an arm or seed is given for a network
            that is not from a comparison.
    """
    folder = Path(folder)
    own = None if data is None else parse_options(data)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}: pass a folder of saam train, saam compare or saam.save")
    name = folder.resolve().name
    if (folder / "study.json").is_file():
        raise ValueError(f"{folder} holds a study: pass one of the comparisons in it")
    if (folder / "plan.json").exists():
        arm, seed = _chosen(folder, load_comparison(folder), arm, seed)
        file = "-".join((name, "".join(letter if letter.isalnum() else "-" for letter in arm), str(seed)))
        return SavedRun(folder, f"{name}, {arm}, seed {seed}", file, load_model(folder, arm, seed), own)
    if arm is not None or seed is not None:
        raise ValueError(f"{folder} holds one network, not a comparison: leave --arm and --seed out")
    try:
        return SavedRun(folder, name, name, load(folder), own)
    except _NEWER as error:
        written = _version(folder)
        if written in ("", __version__):
            raise
        raise ValueError(
            f"{folder} was written by saam {written}, and this is saam {__version__}, which cannot read it ({error}): "
            "install that version"
        ) from error


def _chosen(folder: Path, comparison: Comparison, arm: str | None, seed: int | None) -> tuple[str, int]:
    """Return the arm and seed of a finished run: as requested, else the focus arm, else the best on validation."""
    plan = comparison.plan
    if isinstance(plan, TaskPlan):
        raise ValueError(
            f"{folder} holds a comparison of the function {plan.task}, which alone can build its networks: build one, "
            "load its weights, and call saam.export.to_onnx"
        )
    arm = plan.focus if arm is None else arm
    if arm not in plan.arms:
        raise ValueError(f"{folder} has no arm {arm!r}: expected one of {', '.join(plan.arms)}")
    finished = {record.seed: record for record in comparison.records if record.arm == arm}
    if not finished:
        raise FileNotFoundError(f"{folder} has no finished run of {arm!r}: run the comparison first")
    if seed is None:
        seed = max(finished, key=lambda one: finished[one].validation.get("accuracy", 0.0))
    if seed not in finished:
        raise ValueError(f"{folder} has no finished run of {arm!r} with seed {seed}: expected one of {[*finished]}")
    return arm, seed


def _version(folder: Path) -> str:
    """Return the version of saam that wrote a folder; empty if it does not say."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["versions"]["saam"])
    return ""
