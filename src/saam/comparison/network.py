"""The network of one arm, before training."""

from dataclasses import replace
from typing import Any

from torch import nn

from saam._core.objects import is_reference, resolve
from saam.comparison.arm import WIDER, WIDER_TIME
from saam.comparison.plan import Plan, check_plan
from saam.comparison.task import attention_of
from saam.models import create_model

__all__ = ["build_model", "without_fetching"]

# What published weights decide of networks of torchvision, beside their values.
_PUBLISHED: dict[str, dict[str, Any]] = {
    "torchvision:googlenet": {"transform_input": True, "aux_logits": False},
    "torchvision:inception_v3": {"transform_input": True},
}


def build_model(plan: Plan, arm: str, *, seed: int, classes: int | None) -> nn.Module:
    """Return the network of an arm before training with this seed.

    Raises:
        ValueError: If the model does not exist, or an option is out of range.
        TypeError: If the model or the attention does not have an option.
    """
    side = plan.arm(arm)
    if side.name in (WIDER, WIDER_TIME):
        raise ValueError(f"{arm!r} is a control of a comparison, which finds its width: leave it out, or use compare()")
    return create_model(
        resolve(plan.model) if is_reference(plan.model) else plan.model,
        attention=attention_of(side)[0] if side.own else side.attention,
        head=side.head,
        where=plan.where,
        start=plan.start,
        seed=seed,
        **{"num_classes": classes, **plan.model_options, **(side.options if side.plain else {})},
    )


def without_fetching(plan: Plan) -> Plan:
    """Return the plan with the networks of its runs but without published weights, after checking it.

    Raises:
        ValueError: If a file may not set the name or an option of the network.
    """
    check_plan(plan)
    options = dict(plan.model_options)
    if options.pop("pretrained", False):
        options = {**_PUBLISHED.get(plan.model, {}), **options}
    return replace(plan, model_options=options)
