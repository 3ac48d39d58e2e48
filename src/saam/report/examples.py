"""Pictures of the score maps of a finished comparison, for its report."""

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
    first finished seed, and the images are the first of each class. Nothing is selected by its appearance.

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
    seed = min(record.seed for record in comparison.records if record.arm == arm)
    return data_strip(load_model(out, arm, seed), load_kept_splits(plan), images=images, title=f"{arm}, seed {seed}")


def data_strip(model: nn.Module, splits: Splits, *, images: int = 10, title: str = "") -> ScoreMapStrip:
    """Draw test images, the first of each class in turn, with the score maps of a network.

    Args:
        model: A network with score squeezes.
        splits: Its data. If they have masks, the title compares the weight on the object with that of mean pooling.
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
    found = weight_on_object(model, splits)
    return strip(chosen.pixels, maps, labels=labels, title=f"{title}; {found}" if found else title)


def weight_on_object(model: nn.Module, splits: Splits) -> str:
    """Describe the weight on the object relative to mean pooling, at the first and the last site.

    Args:
        model: A network with score squeezes.
        splits: Its data; the first thousand test images are used.

    Returns:
        A phrase; empty if the data have no masks.

    Raises:
        ValueError: If the network has no score squeeze.
    """
    test = splits.test.select(torch.arange(min(1000, len(splits.test))))
    if not isinstance(test, Images) or test.masks is None:
        return ""
    visible = test.masks.flatten(1).any(1)
    maps = score_maps(model, normalise(test.images[visible], splits.mean, splits.std))
    sites = list(maps)
    shares = ", ".join(
        f"{float(relative_mass(maps[site], test.masks[visible]).mean()):.2f} at {site}"
        for site in dict.fromkeys((sites[0], sites[-1]))
    )
    return f"weight on the object, in times that of mean pooling, over {int(visible.sum())} test images: {shares}"


def _best_arm(comparison: Comparison) -> str | None:
    """Return the score-based arm with the highest mean test accuracy; None if none has finished a run."""
    accuracies: dict[str, list[float]] = {}
    for record in comparison.records:
        if record.curve and sites_of(record.curve[-1], SCORES):
            accuracies.setdefault(record.arm, []).append(record.test["accuracy"])
    return max(accuracies, key=lambda arm: fmean(accuracies[arm]), default=None)
