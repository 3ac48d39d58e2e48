"""The images of a plan, as its networks see them."""

import json
from dataclasses import dataclass, replace
from functools import lru_cache

from saam.comparison.plan import Plan
from saam.data import Splits, kept_options, load_data
from saam.data.cache import no_downloads
from saam.models import Preprocessing, published_colours

__all__ = ["DataSummary", "coloured", "load_kept_splits", "load_splits", "preprocessing_for", "summary_of"]


def load_splits(plan: Plan) -> Splits:
    """Load the data of a plan. Those loaded last stay in memory, for other runs in the same process.

    Raises:
        ValueError, TypeError, FileNotFoundError, ModuleNotFoundError: As in :func:`saam.data.load_data`.
    """
    splits = _load(plan.data, json.dumps(plan.data_options, sort_keys=True))
    return coloured(splits, plan.model, pretrained=plan.pretrained)


def load_kept_splits(plan: Plan) -> Splits:
    """Load the data of a plan that may come from a stranger, without downloads; see :func:`saam.data.load_kept_data`.

    Raises:
        ValueError: If a file may not set one of the options.
        FileNotFoundError: If the data are not on this machine.
    """
    with no_downloads():
        return load_splits(replace(plan, data_options=kept_options(plan.data, plan.data_options)))


def coloured(splits: Splits, model: str, *, pretrained: bool) -> Splits:
    """Return a data set whose images are normalised as the network expects them.

    A pretrained network expects the mean and standard deviation of the images that its weights were trained on. Every
    other one gets those of the data set.

    Args:
        splits: The data set.
        model: Name of the network.
        pretrained: Whether it starts from published weights.
    """
    colours = published_colours(model) if pretrained else None
    if colours is None:
        return splits
    mean, std = colours
    return replace(splits, mean=mean, std=std)


@dataclass(frozen=True)
class DataSummary:
    """What a comparison must know of its data; all of it is empty for a task of the user's own."""

    fingerprint: str = ""
    classes: int = 0
    image_size: tuple[int, int] = (0, 0)
    images: int = 0
    preprocessing: Preprocessing | None = None


def summary_of(splits: Splits) -> DataSummary:
    """Return what a comparison must know of a data set."""
    shape, images = splits.train.shape, len(splits.train)
    return DataSummary(splits.fingerprint, len(splits.classes), shape, images, preprocessing_for(splits))


def preprocessing_for(splits: Splits) -> Preprocessing:
    """Return how images become the input of a network that is trained on a data set."""
    return Preprocessing(splits.train.shape, splits.mean, splits.std, splits.classes)


@lru_cache(maxsize=1)
def _load(name: str, options: str) -> Splits:
    return load_data(name, **json.loads(options))
