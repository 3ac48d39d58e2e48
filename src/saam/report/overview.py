"""What both reports show, drawn from the records once: rows of the main table, and the two families of differences."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from saam.comparison import Comparison
from saam.comparison.records import CostRecord
from saam.comparison.statistics import ArmSummary, Difference, Metric, Summary, Verdict, seeds_needed, summarise
from saam.report.use import delivered_shares
from saam.report.words import at_chance, few_images, finding, score_note, verdict_sentence

__all__ = ["METRICS", "Overview", "Row", "overview", "verdicts"]

METRICS: tuple[Metric, ...] = ("accuracy", "loss")
_OPPOSITE: dict[Verdict, Verdict] = {"better": "worse", "worse": "better", "cannot tell": "cannot tell"}


@dataclass(frozen=True)
class Row:
    """One arm. Scores and differences to the reference by metric, where there are any yet; the cost, if measured."""

    arm: str
    runs: int
    scores: Mapping[Metric, ArmSummary]
    differences: Mapping[Metric, Difference]
    cost: CostRecord | None


@dataclass(frozen=True)
class Overview:
    """The comparison as far as it has got.

    Attributes:
        rows: one for each arm of the plan, in its order.
        reference, focus: labels of these arms.
        finished, planned: numbers of runs.
        to_reference: by metric, the differences of all other arms to the reference; Holm over these.
        of_focus: by metric, the differences of the focus arm to all others; Holm over these.
        shares: of each arm whose records tell it, the share of pixels that every site uses with the weights of the last
            epoch, mean over seeds.
        notes: what this number of seeds and test images cannot show, and how much the arms use their scores.
        at_chance: a sentence where no arm learned anything, else empty.
    """

    rows: tuple[Row, ...]
    reference: str
    focus: str
    finished: int
    planned: int
    to_reference: Mapping[Metric, tuple[Difference, ...]]
    of_focus: Mapping[Metric, tuple[Difference, ...]]
    shares: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...]
    at_chance: str

    @property
    def complete(self) -> bool:
        """Whether every planned run is finished."""
        return self.finished == self.planned

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        others = [row.arm for row in self.rows if row.arm != self.focus]
        return self.at_chance or finding(self.focus, self.of_focus["accuracy"], others)

    @property
    def verdicts(self) -> list[str]:
        """One sentence for the focus arm against each alternative."""
        losses = {difference.reference: difference for difference in self.of_focus["loss"]}
        return [verdict_sentence(each, losses.get(each.reference)) for each in self.of_focus["accuracy"]]

    @property
    def detectable(self) -> list[Difference]:
        """The differences in accuracy of the focus arm whose seeds and spread promise to find what is large enough."""
        family = self.of_focus["accuracy"]
        return [each for each in family if each.n >= seeds_needed(len(family)) and each.minimum_detectable >= 0.005]


def overview(comparison: Comparison) -> Overview:
    """Summarise a comparison, finished or not."""
    plan = comparison.plan
    order = {arm: place for place, arm in enumerate(plan.arms)}
    to_reference = {metric: _summary(comparison, plan.reference, metric, order) for metric in METRICS}
    to_focus = {metric: _summary(comparison, plan.focus, metric, order) for metric in METRICS}
    costs = {cost.arm: cost for cost in comparison.costs}
    rows = []
    for arm in plan.arms:
        scores = {summary.metric: each for summary in to_reference.values() for each in summary.arms if each.arm == arm}
        differences = {
            summary.metric: each
            for summary in to_reference.values()
            for each in summary.differences
            if each.arm == arm and each.n
        }
        runs = sum(record.arm == arm for record in comparison.records)
        rows.append(Row(arm, runs, scores, differences, costs.get(arm)))
    notes = [note for summary in (to_focus["accuracy"], to_reference["accuracy"]) for note in summary.notes]
    shares = {arm: delivered_shares([each for each in comparison.records if each.arm == arm]) for arm in plan.arms}
    shares = {arm: sites for arm, sites in shares.items() if sites}
    notes += [score_note(arm, sites.values()) for arm, sites in shares.items()]
    images = int(min((record.test["count"] for record in comparison.records), default=100))
    best = max((row.scores["accuracy"].mean for row in rows if row.scores), default=math.inf)
    return Overview(
        rows=tuple(rows),
        reference=plan.reference,
        focus=plan.focus,
        finished=len(comparison.records),
        planned=len(plan.arms) * len(plan.seeds),
        to_reference={metric: summary.differences for metric, summary in to_reference.items()},
        of_focus={metric: tuple(map(_turned, summary.differences)) for metric, summary in to_focus.items()},
        shares=shares,
        notes=tuple(dict.fromkeys(filter(None, [*notes, few_images(images)]))),
        at_chance=at_chance(best, comparison.classes, images) if comparison.classes else "",
    )


def verdicts(comparison: Comparison) -> list[str]:
    """Return one sentence each for the focus arm against every alternative; before them, whether no arm learned."""
    view = overview(comparison)
    return [*filter(None, [view.at_chance]), *view.verdicts]


def _summary(comparison: Comparison, reference: str, metric: Metric, order: Mapping[str, int]) -> Summary:
    """Summarise in the plan's order; as long as the reference has no run, there are scores but no differences."""
    records = sorted(comparison.records, key=lambda record: order[record.arm])
    if not records:
        return Summary(metric, reference, (), (), ())
    if any(record.arm == reference for record in records):
        return summarise(records, reference=reference, metric=metric)
    return replace(summarise(records, reference=records[0].arm, metric=metric), differences=(), notes=())


def _turned(difference: Difference) -> Difference:
    """Return `b - a` for `a - b`."""
    return replace(
        difference,
        arm=difference.reference,
        reference=difference.arm,
        mean=-difference.mean,
        low=-difference.high,
        high=-difference.low,
        values={seed: -value for seed, value in difference.values.items()},
        verdict=_OPPOSITE[difference.verdict],
    )
