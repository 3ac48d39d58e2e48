"""The content shared by both reports: rows of the main table, and the two families of differences."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from saam.comparison import Comparison
from saam.comparison.metrics import Metric
from saam.comparison.records import CostRecord
from saam.comparison.statistics import ArmSummary, Difference, Summary, Verdict, seeds_needed, summarise
from saam.report.use import GATES, SCORES, Kind, delivered
from saam.report.words import (
    Failure,
    at_chance,
    failed_runs,
    few_images,
    finding,
    gate_note,
    listed,
    noisy_costs,
    other_runs,
    score_note,
    verdict_sentence,
)

__all__ = ["Overview", "Row", "overview", "verdicts"]

_OPPOSITE: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}


@dataclass(frozen=True)
class Row:
    """One arm.

    Attributes:
        arm: Its label.
        runs: Number of finished runs.
        planned: Number of planned runs; an arm that is decided stops early.
        failed: Number of failed runs.
        scores: Scores by name of the metric, if there are any yet.
        differences: Differences to the reference, likewise.
        cost: The cost, if it is measured.
    """

    arm: str
    runs: int
    planned: int
    failed: int
    scores: Mapping[str, ArmSummary]
    differences: Mapping[str, Difference]
    cost: CostRecord | None


@dataclass(frozen=True)
class Overview:
    """The current state of a comparison.

    Attributes:
        metrics: The metrics, the primary one first.
        rows: One for each arm of the plan, in its order.
        reference: Label of the arm that the table compares with.
        focus: Label of the arm that the report is about.
        finished: Number of finished runs.
        planned: Number of planned runs.
        failures: The runs that ended with an error.
        to_reference: By name of the metric, the differences of all other arms to the reference, with Holm over these.
        of_focus: By name of the metric, the differences of the focus arm to all others, with Holm over these.
        shares: For each arm with score use in its records, the share of pixels that every site uses with the weights of
            the last epoch, mean over seeds.
        changes: For each arm with gate use in its records, the relative change of the map at every site, likewise.
        notes: What this number of seeds and test images cannot show, and how much the arms use their scores and gates.
        at_chance: A sentence if no arm learned anything, else empty.
    """

    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    reference: str
    focus: str
    finished: int
    planned: int
    failures: tuple[Failure, ...]
    to_reference: Mapping[str, tuple[Difference, ...]]
    of_focus: Mapping[str, tuple[Difference, ...]]
    shares: Mapping[str, Mapping[str, float]]
    changes: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...]
    at_chance: str

    @property
    def complete(self) -> bool:
        """Whether every planned run is finished."""
        return self.finished == self.planned

    @property
    def primary(self) -> Metric:
        """The metric that the headline is about."""
        return self.metrics[0]

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        others = [row.arm for row in self.rows if row.arm != self.focus]
        return self.at_chance or finding(self.focus, self.of_focus[self.primary.name], others)

    @property
    def verdicts(self) -> list[str]:
        """One sentence for the focus arm against each alternative."""
        sentences = []
        for each in self.of_focus[self.primary.name]:
            families = (self.of_focus[metric.name] for metric in self.metrics[1:])
            others = [other for family in families for other in family if other.reference == each.reference]
            failed = {failure.seed for failure in self.failures if failure.arm in (each.arm, each.reference)}
            sentences.append(verdict_sentence(each, others, failed=len(failed)))
        return sentences

    @property
    def detectable(self) -> list[Difference]:
        """The primary differences of the focus arm with a useful minimum detectable difference."""
        family, least = self.of_focus[self.primary.name], 0.5 * 10**-self.primary.digits
        return [each for each in family if each.n >= seeds_needed(len(family)) and each.minimum_detectable >= least]


def overview(comparison: Comparison) -> Overview:
    """Summarise a comparison, finished or not."""
    plan, metrics = comparison.plan, comparison.plan.metrics
    failures = comparison.failures
    order = {arm: place for place, arm in enumerate(plan.arms)}
    to_reference = {metric.name: _summary(comparison, plan.reference, metric, order) for metric in metrics}
    to_focus = {metric.name: _summary(comparison, plan.focus, metric, order) for metric in metrics}
    costs = {cost.arm: cost for cost in comparison.costs}
    planned = Counter(arm for arm, _ in plan.schedule())
    rows = []
    for arm in plan.arms:
        scores = {name: each for name, summary in to_reference.items() for each in summary.arms if each.arm == arm}
        differences = {
            name: each
            for name, summary in to_reference.items()
            for each in summary.differences
            if each.arm == arm and each.n
        }
        runs = sum(record.arm == arm for record in comparison.records)
        failed = sum(failure.arm == arm for failure in failures)
        rows.append(Row(arm, runs, planned[arm], failed, scores, differences, costs.get(arm)))
    primary = metrics[0].name
    notes = [failed_runs(failures, planned.total()), other_runs(comparison.others)]
    notes += [note for summary in (to_focus[primary], to_reference[primary]) for note in summary.notes]
    shares, changes = _delivered(comparison, SCORES), _delivered(comparison, GATES)
    varied = _delivered(comparison, GATES, "images")
    notes += _grouped({arm: gate_note(sites.values(), varied.get(arm, {}).values()) for arm, sites in changes.items()})
    notes += [score_note(arm, sites.values()) for arm, sites in shares.items()]
    notes.append(noisy_costs({row.arm: _spread(row.cost) for row in rows if row.cost}))
    chance = ""
    if "accuracy" in to_reference:
        images = int(min((record.test.get("count", 100) for record in comparison.records), default=100))
        notes.append(few_images(images))
        best = max((row.scores["accuracy"].mean for row in rows if row.scores), default=math.inf)
        chance = at_chance(best, comparison.classes, images) if comparison.classes else ""
    return Overview(
        metrics=metrics,
        rows=tuple(rows),
        reference=plan.reference,
        focus=plan.focus,
        finished=len(comparison.records),
        planned=planned.total(),
        failures=failures,
        to_reference={name: summary.differences for name, summary in to_reference.items()},
        of_focus={
            name: tuple(_same_pair(_turned(each), to_reference[name].differences) for each in summary.differences)
            for name, summary in to_focus.items()
        },
        shares=shares,
        changes=changes,
        notes=tuple(dict.fromkeys(filter(None, notes))),
        at_chance=chance,
    )


def verdicts(comparison: Comparison) -> list[str]:
    """Return one sentence for the focus arm against every alternative, preceded by a note if no arm learned."""
    view = overview(comparison)
    return [*filter(None, [view.at_chance]), *view.verdicts]


def _grouped(said: Mapping[str, str]) -> list[str]:
    """Return each different note once, after the names of its arms."""
    notes = [note for note in dict.fromkeys(said.values()) if note]
    return [f"{listed([arm for arm, own in said.items() if own == note])}: {note}" for note in notes]


def _spread(cost: CostRecord) -> float:
    """Return the larger spread of the two ratios of times; 0 if an old record has none."""
    return max(cost.train_step_ratio_spread or 0.0, cost.inference_ratio_spread or 0.0)


def _delivered(comparison: Comparison, kind: Kind, name: str = "") -> dict[str, dict[str, float]]:
    """Return a value of every site with the weights of the last epoch, for each arm whose records have it."""
    arms = {
        arm: delivered([each for each in comparison.records if each.arm == arm], kind, name)
        for arm in comparison.plan.arms
    }
    return {arm: sites for arm, sites in arms.items() if sites}


def _summary(comparison: Comparison, reference: str, metric: Metric, order: Mapping[str, int]) -> Summary:
    """Summarise in the plan's order. While the reference has no run, there are scores but no differences."""
    records = sorted(comparison.records, key=lambda record: order[record.arm])
    if not records:
        return Summary(metric, reference, (), (), ())
    if any(record.arm == reference for record in records):
        return summarise(records, reference=reference, metric=metric)
    return replace(summarise(records, reference=records[0].arm, metric=metric), differences=(), notes=())


def _same_pair(difference: Difference, others: Sequence[Difference]) -> Difference:
    """Return the same pair as it stands among others, so that it has one p and one forecast everywhere."""
    pair = (difference.arm, difference.reference)
    return next((each for each in others if (each.arm, each.reference) == pair), difference)


def _turned(difference: Difference) -> Difference:
    """Return `b - a` for `a - b`."""
    return replace(
        difference,
        arm=difference.reference,
        reference=difference.arm,
        mean=-difference.mean,
        low=-difference.high,
        high=-difference.low,
        ahead=1 - difference.ahead,
        values={seed: -value for seed, value in difference.values.items()},
        evidence=replace(difference.evidence, low=-difference.evidence.high, high=-difference.evidence.low),
        verdict=_OPPOSITE.get(difference.verdict, difference.verdict),
    )
