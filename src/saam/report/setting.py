"""Describe the plan in a report, for both classifiers trained by a recipe and the user's own tasks."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from saam.comparison import Comparison, TaskPlan

__all__ = ["Setting", "setting"]


@dataclass(frozen=True)
class Setting:
    """The setting of a comparison. Entries that a plan does not have are None.

    Attributes:
        title: "resnet8 on photo-digits", or the title of the plan.
        model: Name of the backbone.
        data: Label of the data, once a run has recorded it.
        where: Placement of the attention.
        start: How the attention starts.
        recipe: The settings of the training by name.
        task: ``package.module:function`` of the user's own training.
    """

    title: str
    model: str | None
    data: str | None
    where: str | None
    start: str | None
    recipe: Mapping[str, Any] | None
    task: str | None = None

    @property
    def epochs(self) -> int | None:
        """Number of epochs of the training."""
        return self.recipe.get("epochs") if self.recipe else None


def setting(comparison: Comparison) -> Setting:
    """Return the setting of a comparison."""
    plan = comparison.plan
    if isinstance(plan, TaskPlan):
        return Setting(plan.title, None, None, None, None, None, plan.task)
    data = comparison.records[0].data if comparison.records else plan.data
    title = f"{plan.model} on {data}"
    return Setting(title, plan.model, data, plan.where, plan.start, asdict(plan.recipe))
