"""Parameter groups: which parameters decay, and which learn faster than the rest."""

from collections.abc import Collection
from typing import Any

from torch import nn

from saam._core.errors import unknown

__all__ = ["parameter_groups"]


def parameter_groups(
    model: nn.Module, *, weight_decay: float, new_parameters: Collection[str] = (), new_parameters_factor: float = 1.0
) -> list[dict[str, Any]]:
    """Sort the trainable parameters of a model into groups for a torch optimizer.

    Weight decay excludes parameters of at most one dimension, biases, the parameters of norms, and those that a module
    names by timm's convention: a method ``no_weight_decay()`` that returns names relative to the module.

    Args:
        model: Any module. Parameters that need no gradient are left out.
        weight_decay: Decay of all other parameters.
        new_parameters: Names, as in ``model.named_parameters()``, of untrained parameters in a model that is otherwise
            trained.
        new_parameters_factor: Factor on the learning rate of the new parameters.

    Returns:
        Groups with "params", "weight_decay" and "factor", by which the learning rate of the group must be multiplied.

    Raises:
        ValueError: If a new parameter is not in the model, or the model has no trainable parameter.
    """
    names = [name for name, _ in model.named_parameters()]
    for name in new_parameters:
        if name not in names:
            raise unknown("new parameter", name, names)
    exempt = _without_decay(model)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name not in exempt, name in new_parameters), []).append(parameter)
    if not groups:
        raise ValueError("expected a model with parameters to train, got none: set requires_grad on some of them")
    return [
        {
            "params": parameters,
            "weight_decay": weight_decay if decays else 0.0,
            "factor": new_parameters_factor if new else 1.0,
        }
        for (decays, new), parameters in groups.items()
    ]


def _without_decay(model: nn.Module) -> set[str]:
    """Return the full names of the parameters that are excluded from weight decay."""
    exempt: set[str] = set()
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        excluded = module.no_weight_decay() if callable(getattr(module, "no_weight_decay", None)) else ()
        exempt.update(prefix + name for name in excluded)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.ndim <= 1 or name == "bias" or isinstance(module, nn.LayerNorm | nn.RMSNorm):
                exempt.add(prefix + name)
    return exempt
