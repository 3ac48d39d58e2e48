"""What the runs answered for each test image: accuracy by class, confusions, calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import torch
from torch import Tensor

from saam.comparison import Comparison
from saam.report.by_image import ByImage
from saam.training.calibration import Reliability, reliability

__all__ = ["Answers", "ClassDifference", "Confusion", "answers", "shown_classes"]

_KNOWN = {"labels", "predicted", "confidence"}


@dataclass(frozen=True)
class ClassDifference:
    """How well an arm knows one class, compared with the reference, in percent and points of accuracy.

    Attributes:
        name: Name of the class.
        images: Number of its test images.
        reference: Accuracy of the reference, mean over seeds.
        mean: Difference of the arm to the reference, mean over seeds.
        spread: Standard deviation of this difference over seeds; 0 with one seed.
    """

    name: str
    images: int
    reference: float
    mean: float
    spread: float


@dataclass(frozen=True)
class Confusion:
    """How often images of a class are taken for another one, in percent of the images of the class, mean over seeds."""

    label: str
    predicted: str
    arm: float
    reference: float


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of the runs of a comparison.

    Attributes:
        names: Names of the classes.
        labels: (N,) label of each test image.
        predicted: Arm -> seed -> (N,) predicted class.
        confidence: Arm -> seed -> (N,) its probability.
    """

    names: tuple[str, ...]
    labels: Tensor
    predicted: Mapping[str, Mapping[int, Tensor]]
    confidence: Mapping[str, Mapping[int, Tensor]]

    def by_class(self, arm: str, reference: str) -> list[ClassDifference]:
        """Return the difference of two arms in the accuracy of each class, largest first, paired by seed."""
        seeds = [seed for seed in self.predicted[arm] if seed in self.predicted[reference]]
        if not seeds:
            return []
        counts = self.labels.bincount(minlength=len(self.names))
        ours, theirs = (torch.stack([self._recall(each, seed, counts) for seed in seeds]) for each in (arm, reference))
        gaps = (ours - theirs).T.tolist()
        found = [
            ClassDifference(name, int(counts[place]), fmean(known), fmean(gap), stdev(gap) if len(gap) > 1 else 0.0)
            for place, (name, known, gap) in enumerate(zip(self.names, theirs.T.tolist(), gaps, strict=True))
            if counts[place]
        ]
        return sorted(found, key=lambda each: -each.mean)

    def confusions(self, arm: str, reference: str, *, most: int = 10) -> list[Confusion]:
        """Return the most frequent confusions of an arm, beside the same ones of the reference."""
        ours, theirs = (self._confusions(each) for each in (arm, reference))
        pairs = sorted(ours, key=lambda pair: (-ours[pair], pair))[:most]
        return [
            Confusion(self.names[label], self.names[guess], ours[label, guess], theirs.get((label, guess), 0.0))
            for label, guess in pairs
        ]

    def reliability(self, arm: str) -> Reliability:
        """Return the images of all runs of an arm, grouped by confidence."""
        runs = self.confidence[arm]
        correct = torch.cat([self.predicted[arm][seed] == self.labels for seed in runs])
        return reliability(torch.cat(list(runs.values())), correct)

    def _recall(self, arm: str, seed: int, counts: Tensor) -> Tensor:
        """Return the accuracy of each class in percent (classes,); 0 for a class without images."""
        hits = self.labels[self.predicted[arm][seed] == self.labels].bincount(minlength=len(self.names))
        return 100 * hits.double() / counts.clamp(min=1)

    def _confusions(self, arm: str) -> dict[tuple[int, int], float]:
        """Return (label, class) -> how often the label is taken for that other class, in percent, mean over seeds."""
        runs, count = self.predicted[arm].values(), len(self.names)
        wrong = torch.cat([(self.labels * count + guess)[guess != self.labels] for guess in runs])
        images = self.labels.bincount(minlength=count)
        pairs, times = wrong.unique(return_counts=True)  # type: ignore[no-untyped-call]
        shares = 100 * times.double() / (len(runs) * images[pairs // count])
        return dict(zip(((pair // count, pair % count) for pair in pairs.tolist()), shares.tolist(), strict=True))


def answers(scores: ByImage, comparison: Comparison) -> Answers | None:
    """Return the answers of the runs that have them; None if those of the reference or the focus arm have none.

    Args:
        scores: Result of `saam.report.by_image.by_image`.
        comparison: The comparison.
    """
    runs = {
        run: values
        for run, values in scores.items()
        if values.keys() >= _KNOWN and bool(((values["confidence"] >= 0) & (values["confidence"] <= 1)).all())
    }
    first = next(iter(runs.values()), {}).get("labels")
    plan, count = comparison.plan, comparison.classes
    if first is None or not count or not all(_same(first, values["labels"]) for values in runs.values()):
        return None
    if not all(_within(values[name], count) for values in runs.values() for name in ("labels", "predicted")):
        return None
    names = comparison.class_names or tuple(f"class {place}" for place in range(count))
    by_arm = {arm: [run for run in runs if run[0] == arm] for arm in plan.arms}
    by_arm = {arm: those for arm, those in by_arm.items() if those}
    if not {plan.focus, plan.reference} <= by_arm.keys() or len(names) != count:
        return None
    return Answers(
        names,
        first.long(),
        {arm: {seed: runs[arm, seed]["predicted"].long() for _, seed in those} for arm, those in by_arm.items()},
        {arm: {seed: runs[arm, seed]["confidence"] for _, seed in those} for arm, those in by_arm.items()},
    )


def shown_classes(differences: Sequence[ClassDifference], *, most: int = 20) -> list[ClassDifference]:
    """Return all differences, or of many the largest and the smallest ones."""
    if len(differences) <= most:
        return list(differences)
    return [*differences[: most // 2], *differences[-(most // 2) :]]


def _same(first: Tensor, other: Tensor) -> bool:
    return first.shape == other.shape and bool((first == other).all())


def _within(classes: Tensor, count: int) -> bool:
    return bool(((classes >= 0) & (classes < count) & (classes == classes.round())).all())
