"""The command line that repeats a comparison."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from saam._core.options import parse_options
from saam.comparison import ACCURACY, LOSS, Plan, TaskPlan
from saam.comparison.arm import CONTROLS
from saam.training import Recipe, create_recipe, recipes

__all__ = ["command"]


def command(plan: Plan | TaskPlan) -> str:
    """Return the command that repeats a plan; empty if neither options nor a file can express it.

    This is the case for the user's own training function, and for the user's own arms with labels other than their
    names.

    If options cannot express the plan (seeds that are not 0, 1, 2 and so on, arms that stopped or have labels of their
    own, another spread, or text with commas among the options), the command reads the plan that the comparison left in
    its folder.
    """
    if not isinstance(plan, Plan):
        return ""
    arms = [arm if arm in CONTROLS else plan.arm(arm).label for arm in plan.arms]
    usual = Plan(recipe=plan.recipe, arms=tuple(arms), seeds=plan.seeds)
    own = bool(plan.code())
    recipe = min((_recipe(name, plan.recipe) for name in recipes()), key=len)
    data, model = _spelled(plan.data, plan.data_options), _spelled(plan.model, plan.model_options)
    exact = _says(data, plan.data, plan.data_options) and _says(model, plan.model, plan.model_options)
    delta = plan.metrics[0].delta
    exact = exact and usual.arms == plan.arms and plan.metrics == (replace(ACCURACY, delta=delta), LOSS)
    if not exact or plan.seeds != tuple(range(len(plan.seeds))) or plan.stopped:
        return "" if own else "saam compare --plan plan.json"
    words = ["saam", "compare", "--data", data, "--model", model, "--arms", *arms]
    words += ["--seeds", str(len(plan.seeds)), "--recipe", recipe]
    for name in ("where", "start", "reference", "focus"):
        if getattr(plan, name) != getattr(usual, name):
            words += [f"--{name}", getattr(plan, name)]
    return shlex.join([*words, *(["--delta", f"{delta:g}"] if delta != ACCURACY.delta else [])])


def _recipe(name: str, recipe: Recipe) -> str:
    """Return a recipe as the named one with changes."""
    base = create_recipe(name).to_dict()
    return _spelled(name, {key: value for key, value in recipe.to_dict().items() if value != base[key]})


def _spelled(name: str, options: Mapping[str, Any]) -> str:
    return ",".join([name, *(f"{key}={value}" for key, value in options.items())])


def _says(text: str, name: str, options: Mapping[str, Any]) -> bool:
    """Return whether the command line parses the text as intended."""
    try:
        return parse_options(text) == (name, options)
    except ValueError:
        return False
