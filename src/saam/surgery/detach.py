"""Attention out of a network again, and which of its parameters surgery brought."""

from typing import Any

from torch import nn

from saam.surgery.attended import Attended, is_surgical
from saam.surgery.modules import brought, original, replace, visible_modules
from saam.surgery.refusal import refuse
from saam.surgery.report import Change, SurgeryReport

__all__ = ["detach", "new_parameters"]


def detach(model: nn.Module) -> SurgeryReport:
    """Undo attach and upgrade, in place: the network has its own modules again, and its own keys.

    The weights stay what they are now, those that were trained in the meantime included; only what surgery added goes.

    Raises:
        TypeError: a network that surgery cannot be done on, or one that is itself the work of surgery.

    Example:
        >>> from saam.models import create_model
        >>> print(detach(create_model("resnet8", attention="saam")))
        site          channels  change            parameters
        layer1.0.bn2  16        - SAAM            -65
        layer2.0.bn2  32        - SAAM            -194
        layer3.0.bn2  64        - SAAM            -644
        total                   3 residual sites  -903
    """
    refuse(model)
    changes = []
    originals: dict[nn.Module, nn.Module] = {}
    module: Any
    for name, module in visible_modules(model).items():
        if is_surgical(module):
            originals[module] = original(module)
        while is_surgical(module):
            count = sum(parameter.numel() for parameter in brought(module))
            what = module.attention if isinstance(module, Attended) else module
            channels, kind = (module.site.channels, module.site.kind) if isinstance(module, Attended) else (0, "")
            changes.append(Change(name, channels, f"- {type(what).__name__}", -count, kind=kind))
            module = module.original
    if model in originals:
        raise TypeError("cannot undo the outermost module in place: keep the network that it was put into")
    replace(model, originals)
    return SurgeryReport(tuple(changes))


def new_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that surgery brought, by their names in the network.

    They start untrained in a network that may be trained: give them a learning rate of their own, or add them to an
    optimizer that exists with ``optimizer.add_param_group``.

    Example:
        >>> from saam.models import create_model
        >>> sum(parameter.numel() for parameter in new_parameters(create_model("resnet8", attention="se")).values())
        791
    """
    new = {id(parameter) for module in model.modules() if is_surgical(module) for parameter in brought(module)}
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in new}
