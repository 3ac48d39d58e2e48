"""How far can the maps of a network be trusted? Every measure on every kind of map, for each image and seed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor, nn

from saam._core.devices import device_of
from saam._core.html import html_table
from saam.explain.attribution import WHY_NO_GRAD_CAM
from saam.explain.compared import FLOORS, compared_maps
from saam.explain.explanation import class_probabilities
from saam.explain.faithfulness import deletion, insertion, road
from saam.explain.localisation import pointing_game, relative_mass
from saam.explain.sanity import classifier_of, rank_correlation, shuffled
from saam.models import Preprocessing, require_preprocessing

__all__ = ["MEASURES", "Measure", "Trust", "trust"]


@dataclass(frozen=True)
class Measure:
    """One way to judge a map.

    Attributes:
        name: As in tables.
        better: "higher" or "lower", or "near 0" for a correlation that should vanish.
        floored: Whether the floors can be judged in the same way.
        meaning: What the value is, in one sentence.
    """

    name: str
    better: str
    floored: bool
    meaning: str


MEASURES = (
    Measure("pointing game", "higher", True, "Share of images in which the largest weight is on the object."),
    Measure("weight on object", "higher", True, "Weight on the object, relative to that of a uniform map."),
    Measure("insertion", "higher", True, "Mean probability while pixels of most weight are put into a blurred image."),
    Measure("deletion", "lower", True, "Mean probability while pixels of most weight are replaced by the mean colour."),
    Measure(
        "ROAD",
        "higher",
        True,
        "Probability left without the least relevant pixels minus that without the most relevant ones.",
    ),
    Measure("weights shuffled", "near 0", False, "Rank correlation with the map of the network with shuffled weights."),
    Measure("classifier shuffled", "near 0", False, "The same, with shuffled weights in the last layer only."),
    Measure("between seeds", "higher", False, "Rank correlation of the maps of two networks, trained from two seeds."),
)
"""All measures, in the order of tables. The first two need masks, the last one two networks or more."""


@dataclass(frozen=True, eq=False, repr=False)
class Trust:
    """The measured quality of a network's maps.

    Attributes:
        seeds: Seed of each network.
        images: Number of images.
        values: Name of the measure -> method -> values (seeds, images); "between seeds" has a row for each pair.
        accuracy: Share of the images that are classified correctly, for each seed; None without labels.
    """

    seeds: tuple[int, ...]
    images: int
    values: dict[str, dict[str, Tensor]]
    accuracy: tuple[float, ...] | None

    def means(self) -> dict[str, dict[str, float]]:
        """Return measure -> method -> mean over networks and images."""
        return {
            measure: {method: float(values.mean()) for method, values in by_method.items()}
            for measure, by_method in self.values.items()
        }

    def __repr__(self) -> str:
        """Return what was measured, without the values."""
        return f"Trust({', '.join(self.values)}; {len(self.seeds)} networks, {self.images} images)"

    def _repr_html_(self) -> str:
        means = self.means()
        methods = dict.fromkeys(method for by_method in means.values() for method in by_method)
        rows = [
            [method, *(f"{by_method[method]:.2f}" if method in by_method else "" for by_method in means.values())]
            for method in methods
        ]
        return html_table([["map", *means], *rows], caption=f"{len(self.seeds)} networks, {self.images} images: means")


def trust(
    networks: nn.Module | Mapping[int, nn.Module],
    images: Tensor,
    *,
    labels: Tensor | None = None,
    masks: Tensor | None = None,
    preprocessing: Preprocessing | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Trust:
    """Measure how far the maps of a classifier can be trusted.

    The maps are the score maps of the first and the last site, the mean and the product over all sites, Grad-CAM if
    there is a feature map, integrated gradients, and the floors. They are compared at the resolution of the input. The
    class is the predicted one. Intervals: :func:`saam.report.trust.trust_rows`.

    Args:
        networks: A network, or seed -> network for networks that differ in the seed only.
        images: uint8 (B, 3, h, w), two or more.
        labels: int64 (B,), for the accuracy.
        masks: bool (B, h, w), true on the object, in images of the size that the network takes.
        preprocessing: How images become the input; None takes that of the network.
        progress: Called with a line before each step.

    Returns:
        The measures that apply.

    Raises:
        ModuleNotFoundError: If captum or scipy is not installed.
        ValueError: If there is no preprocessing, there are less than two images, or a mask is empty or does not fit.
    """
    by_seed = {0: networks} if isinstance(networks, nn.Module) else dict(networks)
    if not by_seed or len(images) < 2:
        raise ValueError(f"expected a network and two images or more, got {len(by_seed)} and {len(images)}")
    values: dict[str, dict[str, list[Tensor]]] = {}
    maps_by_seed, accuracy = [], []
    for seed, network in by_seed.items():
        prepare = require_preprocessing(network, preprocessing)
        if masks is not None and (masks.shape != (len(images), *prepare.size) or images.shape[2:] != masks.shape[1:]):
            raise ValueError(
                f"expected images and masks of {prepare.size[0]} x {prepare.size[1]} pixels, which the network takes, "
                f"got {tuple(images.shape[2:])} and {tuple(masks.shape[1:])}: resize both"
            )
        x = prepare(images).to(device_of(network))
        classes = class_probabilities(network, x, classes=len(prepare.classes)).argmax(1)
        if labels is not None:
            accuracy.append(float((classes.cpu() == labels).float().mean()))
        progress(f"seed {seed}")
        maps = compared_maps(network, x, classes)
        if "Grad-CAM" not in maps:
            progress(WHY_NO_GRAD_CAM)
        maps_by_seed.append(maps)
        for measure, method, found in _judged(network, x, classes, maps, masks, progress):
            values.setdefault(measure, {}).setdefault(method, []).append(found)
    if between := _between(maps_by_seed):
        values["between seeds"] = between
    return Trust(
        tuple(by_seed),
        len(images),
        {
            measure: {method: torch.stack(rows).double() for method, rows in by_method.items()}
            for measure, by_method in values.items()
        },
        tuple(accuracy) if labels is not None else None,
    )


def _judged(
    network: nn.Module,
    x: Tensor,
    classes: Tensor,
    maps: Mapping[str, Tensor],
    masks: Tensor | None,
    progress: Callable[[str], None],
) -> Iterator[tuple[str, str, Tensor]]:
    """Yield measure, method and values (B,)."""
    for method, each in maps.items():
        progress(method)
        if masks is not None:
            yield "pointing game", method, pointing_game(each.unsqueeze(1), masks)[:, 0]
            yield "weight on object", method, relative_mass(each.unsqueeze(1), masks)[:, 0]
        yield "insertion", method, insertion(network, x, each, classes)
        yield "deletion", method, deletion(network, x, each, classes)
        yield "ROAD", method, road(network, x, each, classes)
    progress("shuffled weights")
    last = classifier_of(network, x)
    for measure, part in {"weights shuffled": None, "classifier shuffled": last}.items():
        if measure == "classifier shuffled" and last is None:
            continue
        others = compared_maps(shuffled(network, part=part), x, classes)
        for method in [name for name in maps if name not in FLOORS]:
            yield measure, method, rank_correlation(maps[method], others[method])


def _between(maps_by_seed: Sequence[Mapping[str, Tensor]]) -> dict[str, list[Tensor]]:
    """Return method -> for each pair of networks the rank correlation of their maps (B,)."""
    return {
        method: [rank_correlation(a[method], b[method]) for a, b in combinations(maps_by_seed, 2)]
        for method in maps_by_seed[0]
        if method not in FLOORS and len(maps_by_seed) > 1
    }
