"""Pictures of the score maps of a finished comparison, for its report."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from statistics import fmean

import torch
from torch import nn

from saam.comparison import Comparison, TaskPlan, load_comparison, load_model
from saam.comparison.plan_data import load_kept_splits
from saam.data import Images, Splits, first_test_images, normalise
from saam.explain.localisation import relative_mass
from saam.explain.overlay import ScoreMapStrip, strip
from saam.explain.score_maps import score_maps
from saam.report.use import SCORES, sites_of

__all__ = ["comparison_strip", "data_strip", "weight_on_object"]


def comparison_strip(out: str | Path, *, images: int = 10) -> ScoreMapStrip | None:
    """Draw test images with the score maps of a comparison's best score-based arm.

    The arm is the one with the highest mean test accuracy among those with a score squeeze, the network is from its
    first finished seed, and the images are the first of each class. Nothing is selected by its appearance. The weight
    on the object is told for all seeds whose network is in the folder, because it differs widely between them.

    Args:
        out: Folder of the comparison.
        images: Number of images.

    Returns:
        The strip; None if no arm has a score squeeze or none has finished a run.

    Raises:
        FileNotFoundError: If the folder holds no comparison or does not hold the network, or the data are gone.
        ValueError: If a file is damaged, or ``images`` is below 1.
    """
    comparison = load_comparison(out)
    plan, arm = comparison.plan, _best_arm(comparison)
    if arm is None or isinstance(plan, TaskPlan):
        return None
    first, *others = sorted(record.seed for record in comparison.records if record.arm == arm)
    splits, model = load_kept_splits(plan), load_model(out, arm, first)
    return data_strip(model, splits, others=_networks(out, arm, others), images=images, title=f"{arm}, seed {first}")


def _networks(out: str | Path, arm: str, seeds: Iterable[int]) -> Iterator[nn.Module]:
    """Yield the networks of these seeds that are still in the folder."""
    for seed in seeds:
        with suppress(FileNotFoundError):
            yield load_model(out, arm, seed)


def data_strip(
    model: nn.Module,
    splits: Splits,
    *,
    others: Iterable[nn.Module] = (),
    images: int = 10,
    title: str = "",
) -> ScoreMapStrip:
    """Draw test images, the first of each class in turn, with the score maps of a network.

    Args:
        model: A network with score squeezes.
        splits: Its data. If they have masks, the title compares the weight on the object with that of mean pooling.
        others: Networks that differ in the seed only. The weight on the object is told for them too.
        images: Number of images.
        title: The caption: whose maps these are.

    Raises:
        ValueError: If the network has no score squeeze, or ``images`` is below 1.
    """
    chosen = first_test_images(splits, images)
    x = normalise(chosen.pixels, splits.mean, splits.std)
    maps = score_maps(model, x)
    with torch.inference_mode():
        predicted = model.eval()(x).argmax(1)
    labels = [
        truth if truth == guess else f"{truth}, taken for {guess}"
        for truth, guess in zip(chosen.truths, map(splits.classes.__getitem__, predicted.tolist()), strict=True)
    ]
    found = weight_on_object(chain([model], others), splits)
    return strip(chosen.pixels, maps, labels=labels, title=f"{title}; {found}" if found else title)


def weight_on_object(models: Iterable[nn.Module], splits: Splits) -> str:
    """Describe the weight on the object relative to mean pooling, at the first and the last site.

    Args:
        models: Networks with score squeezes that differ in the seed only.
        splits: Their data; the first thousand test images are used.

    Returns:
        A phrase, with mean and range over several networks; empty if the data have no masks.

    Raises:
        ValueError: If a network has no score squeeze.
    """
    test = splits.test.select(torch.arange(min(1000, len(splits.test))))
    if not isinstance(test, Images) or test.masks is None:
        return ""
    visible = test.masks.flatten(1).any(1)
    x, masks = normalise(test.images[visible], splits.mean, splits.std), test.masks[visible]
    found: dict[str, list[float]] = {}  # site -> weight, one for each network
    for model in models:
        maps = score_maps(model, x)
        sites = list(maps)
        for site in dict.fromkeys((sites[0], sites[-1])):
            found.setdefault(site, []).append(float(relative_mass(maps[site], masks).mean()))
    count = max(map(len, found.values()))
    several = f", mean and range over {count} seeds" if count > 1 else ""
    weights = ", ".join(
        f"{fmean(values):.2f}{f' ({min(values):.2f} to {max(values):.2f})' if several else ''} at {site}"
        for site, values in found.items()
    )
    return f"weight on the object, in times that of mean pooling, over {len(x):,} test images{several}: {weights}"


def _best_arm(comparison: Comparison) -> str | None:
    """Return the score-based arm with the highest mean test accuracy; None if none has finished a run."""
    accuracies: dict[str, list[float]] = {}
    for record in comparison.records:
        if record.curve and sites_of(record.curve[-1], SCORES):
            accuracies.setdefault(record.arm, []).append(record.test["accuracy"])
    return max(accuracies, key=lambda arm: fmean(accuracies[arm]), default=None)
