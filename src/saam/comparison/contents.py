"""The contents of a comparison's folder while it is run: what has finished, what failed, what is missing."""

from dataclasses import replace
from pathlib import Path

from saam.comparison.comparison import Comparison
from saam.comparison.plan import Plan
from saam.comparison.plan_data import DataSummary
from saam.comparison.plan_file import check_metrics, write_plan
from saam.comparison.records import FailureRecord, Finished, RunRecord
from saam.comparison.statistics import undecided
from saam.comparison.store import (
    count_others,
    forget_failure,
    read_costs,
    read_failures,
    read_progress,
    read_records,
    write_failure,
    write_run,
)
from saam.comparison.task import TaskPlan

__all__ = ["Contents"]


class Contents:
    """The contents of a comparison's folder, kept up to date."""

    def __init__(self, out: Path, plan: Plan | TaskPlan, data: DataSummary, costs_id: str, *, retry: bool) -> None:
        self.out, self.data, self.costs_id, self.retry = out, data, costs_id, retry
        self.tried: set[str] = set()  # runs that failed here, and are not tried again
        self.costs = read_costs(out, costs_id)
        self.records: dict[str, RunRecord] = {}
        self.failures: dict[str, FailureRecord] = {}
        self.under_way: list[str] = []
        self._follow(plan)

    def _follow(self, plan: Plan | TaskPlan) -> None:
        self.plan = plan
        fingerprint = self.data.fingerprint
        self.ids = {(arm, seed): plan.run_id(arm, seed, fingerprint=fingerprint) for arm, seed in plan.schedule()}
        self.read()
        for run_id in self.failures.keys() - self.tried if self.retry else ():
            forget_failure(self.out, self.failures.pop(run_id))
        check_metrics(self.out, plan, self.records.values())
        self.others = count_others(self.out, list(self.ids.values()))
        write_plan(
            self.out,
            plan,
            classes=self.data.classes,
            runs=list(self.ids.values()),
            costs=self.costs_id,
            preprocessing=self.data.preprocessing,
        )

    def add_seed(self, most: int) -> bool:
        """Add a seed for the undecided arms. Return False if all are decided, or there are enough seeds."""
        plan = self.plan
        failed = {failure.arm for failure in self.failures.values()}
        if len(plan.seeds) >= most or plan.reference in failed:
            return False
        untold = {*undecided(self.records.values(), plan.reference, plan.metrics[:1])} - failed
        if not untold:
            return False
        untold.add(plan.reference)
        stopped = {arm: plan.stopped.get(arm, len(plan.seeds)) for arm in plan.arms if arm not in untold}
        self._follow(replace(plan, seeds=(*plan.seeds, max(plan.seeds) + 1), stopped=stopped))
        return True

    def unpriced(self) -> list[str]:
        """Return the arms without costs; empty for the user's own tasks."""
        if isinstance(self.plan, TaskPlan):
            return []
        return [arm for arm in self.plan.arms if arm not in {cost.arm for cost in self.costs}]

    def read(self) -> None:
        """Read new records and failures, of this driver and of others."""
        open_runs = {run: run_id for run, run_id in self.ids.items() if run_id not in self.records}
        self.records |= read_records(self.out, open_runs)
        self.failures = read_failures(self.out, open_runs, self.records)

    def missing(self) -> dict[str, tuple[str, int]]:
        """Return (arm, seed) of the runs that have neither finished nor failed, by id."""
        done = self.records.keys() | self.failures.keys()
        return {run_id: run for run, run_id in self.ids.items() if run_id not in done}

    def add(self, result: Finished | FailureRecord) -> None:
        """Store the result of a job.

        Raises:
            RuntimeError: If it was computed with other data or versions.
        """
        if isinstance(result, FailureRecord):
            write_failure(self.out, result)
            self.tried.add(result.id)
            self.failures[result.id] = result
            return
        record = result.record
        if record.id != self.ids[record.arm, record.seed]:
            raise RuntimeError(
                f"the run of arm {record.arm!r} with seed {record.seed} had other data or other versions than this "
                "process; give the workers the same and start again"
            )
        write_run(self.out, result)
        self.records[record.id] = record

    def comparison(self) -> Comparison:
        """Return the comparison so far."""
        in_order = self.ids.values()
        return Comparison(
            self.plan,
            tuple(self.records[run_id] for run_id in in_order if run_id in self.records),
            self.costs,
            self.data.classes,
            tuple(self.failures[run_id] for run_id in in_order if run_id in self.failures),
            read_progress(self.out, self.under_way),
            () if self.data.preprocessing is None else self.data.preprocessing.classes,
            self.others,
        )
