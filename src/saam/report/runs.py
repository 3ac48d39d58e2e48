"""The network of a run, and its data, from the folder that compare, train or save wrote."""

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saam._core.errors import unknown
from saam._version import __version__
from saam.comparison import Comparison, TaskPlan, load_comparison, load_model
from saam.comparison.job import load_splits, preprocessing_for
from saam.data import Images, Splits, first_of_each_class, load_kept_data
from saam.models import load, preprocessing_of
from saam.report.use import SCORES, sites_of

__all__ = ["Explained", "TestImages", "best_arm", "networks_of"]


class TestImages(NamedTuple):
    """Test images of a run, the first of each class in turn. Nothing is selected by its appearance."""

    pixels: Tensor
    """uint8 (n, 3, H, W)."""
    indices: list[int]
    """Their places among the test images."""
    labels: Tensor
    """int64 (n,)."""
    truths: list[str]
    """Names of their classes."""
    masks: Tensor | None
    """bool (n, H, W), true on the object; None where the data have none."""


@dataclass(frozen=True, eq=False)
class Explained:
    """Networks to explain, and their data.

    Attributes:
        name: Of the networks, for titles and files.
        networks: Seed -> trained network with preprocessing; seed 0 for a single network.
        splits: Their data; None if the folder does not say what they are.
    """

    name: str
    networks: dict[int, nn.Module]
    splits: Splits | None

    def test_images(self, count: int, *, with_object: bool = False) -> TestImages:
        """Return test images.

        Args:
            count: Number of images, or fewer if there are not so many.
            with_object: Leave out images whose mask is empty.

        Raises:
            ValueError: If the data are not known, or there is no image.
        """
        if self.splits is None:
            raise ValueError(
                f"{self.name} does not say on what data the network was trained: pass images of your own, or a folder "
                "that saam train or saam compare wrote"
            )
        test = self.splits.test
        kept = torch.arange(len(test))
        if with_object and isinstance(test, Images) and test.masks is not None:
            kept = kept[test.masks.flatten(1).any(1)]
        kept = kept[first_of_each_class(test.labels[kept], count)]
        chosen = test.select(kept)
        (pixels,) = chosen.read([torch.arange(len(chosen))])
        masks = chosen.masks if isinstance(chosen, Images) else None
        truths = [self.splits.classes[label] for label in chosen.labels.tolist()]
        return TestImages(pixels, kept.tolist(), chosen.labels, truths, masks)


def networks_of(
    folder: str | Path, *, arm: str | None = None, seed: int | None = None, all_seeds: bool = False, data: bool = True
) -> Explained:
    """Load the networks that a folder holds.

    Args:
        folder: What saam compare, saam train or :func:`saam.save` wrote.
        arm: Arm of a comparison. By default the score-based arm with the highest mean test accuracy; without one, the
            best of the others.
        seed: Seed of a comparison. By default the first finished one.
        all_seeds: Load the networks of all finished seeds, not of one.
        data: Load the data, if the folder says what they are.

    Raises:
        FileNotFoundError: If there is no network, or the data are not on this machine.
        ValueError: If a file is damaged or from another version, there is no such arm or seed, or images cannot become
            input of the network because neither it nor its data say how.
    """
    folder = Path(folder)
    if (folder / "plan.json").exists():
        return _of_comparison(folder, arm, seed, all_seeds, data)
    if arm is not None or seed is not None:
        raise ValueError(f"{folder} holds a single network, not a comparison: leave out arm and seed")
    try:
        network = load(folder)
    except ValueError as error:
        raise ValueError(f"{error}{_of_another_version(folder)}") from error
    splits = _data_of(folder) if data else None
    if preprocessing_of(network) is None:
        splits = splits or _data_of(folder)
        if splits is None:
            raise ValueError(
                f"{folder / 'config.json'} does not say how images become the input of the network: set "
                "network.preprocessing = saam.models.Preprocessing(size=..., mean=..., std=..., classes=...) and save "
                "it again"
            )
        network.preprocessing = preprocessing_for(splits)  # type: ignore[assignment]
    return Explained(folder.resolve().name, {0: network}, splits)


def best_arm(comparison: Comparison) -> str | None:
    """Return the score-based arm with the highest mean test accuracy; None if none has finished a run."""
    return _best(comparison, scored=True)


def _of_comparison(folder: Path, arm: str | None, seed: int | None, all_seeds: bool, data: bool) -> Explained:
    comparison = load_comparison(folder)
    plan = comparison.plan
    if isinstance(plan, TaskPlan):
        raise ValueError(
            f"{folder} holds a comparison of the function {plan.task}, which alone can build its networks: pass the "
            "network to saam.explain.explain"
        )
    chosen = arm or _best(comparison, scored=True) or _best(comparison, scored=False)
    if chosen is None:
        raise ValueError(f"{folder} has no finished run: continue it with saam compare --plan {folder / 'plan.json'}")
    if chosen not in plan.arms:
        raise unknown("arm", chosen, plan.arms)
    finished = sorted(record.seed for record in comparison.records if record.arm == chosen)
    if not finished or (seed is not None and seed not in finished):
        raise ValueError(f"{folder} has no finished run of {chosen} with seed {seed}; finished seeds: {finished}")
    seeds = [seed] if seed is not None else finished if all_seeds else finished[:1]
    splits = load_splits(plan) if data else None
    networks = {each: load_model(folder, chosen, each) for each in seeds}
    for network in networks.values():
        if preprocessing_of(network) is None:
            splits = splits or load_splits(plan)
            network.preprocessing = preprocessing_for(splits)  # type: ignore[assignment]
    name = f"{folder.resolve().name}, {chosen}"
    return Explained(name if len(seeds) > 1 else f"{name}, seed {seeds[0]}", networks, splits)


def _best(comparison: Comparison, *, scored: bool) -> str | None:
    accuracies: dict[str, list[float]] = {}
    for record in comparison.records:
        if not scored or (record.curve and sites_of(record.curve[-1], SCORES)):
            accuracies.setdefault(record.arm, []).append(record.test["accuracy"])
    return max(accuracies, key=lambda arm: fmean(accuracies[arm]), default=None)


def _data_of(folder: Path) -> Splits | None:
    """Return the data that a network was trained on; None if its folder does not say."""
    data = _config(folder).get("data")
    try:
        name, options = str(data["name"]), dict(data["options"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None
    return load_kept_data(name, **options)


def _of_another_version(folder: Path) -> str:
    versions = _config(folder).get("versions")
    wrote = versions.get("saam") if isinstance(versions, dict) else None
    return "" if wrote in (None, __version__) else f"; saam {wrote!s:.20} wrote it, and this is saam {__version__}"


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}
