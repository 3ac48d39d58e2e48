"""Remove attention from a network, and list the parameters that surgery added."""

from torch import nn

from saam.surgery.modules import brought, refuse, replace, visible_modules
from saam.surgery.report import Change, SurgeryReport
from saam.surgery.surgical import Attended, Surgical, original

__all__ = ["detach", "new_parameters"]

_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
)


def detach(model: nn.Module) -> SurgeryReport:
    """Undo attach and upgrade, in place, and restore the network's own modules and keys.

    The weights keep their current values, including those trained since; only what surgery added is removed.

    Raises:
        TypeError: If surgery does not support the network, or the network is itself the result of surgery.

    Example:
        >>> from saam.models import create_model
        >>> print(detach(create_model("resnet8", attention="saam")))
        site          channels  change            parameters
        layer1.0.bn2  16        - saam            -65
        layer2.0.bn2  32        - saam            -194
        layer3.0.bn2  64        - saam            -644
        total                   3 residual sites  -903
    """
    refuse(model)
    changes = []
    originals: dict[nn.Module, nn.Module] = {}
    for name, module in visible_modules(model).items():
        if isinstance(module, Surgical):
            originals[module] = original(module)
        while isinstance(module, Surgical):
            count = sum(parameter.numel() for parameter in module.brought())
            if isinstance(module, Attended):
                change = Change(name, module.site.channels, f"- {module.label}", -count, kind=module.site.kind)
            else:
                pool = getattr(module.squeeze, "pool", module.squeeze)  # beside a maximum, or alone
                label = f"{type(module.original).__name__}: - squeeze {type(pool).__name__}"
                change = Change(name, getattr(pool, "channels", 0), label, -count)
            changes.append(change)
            module = module.original
    if model in originals:
        raise TypeError("cannot undo the outermost module in place: keep the network that it was put into")
    for module, stood in originals.items():
        _hand_over_hooks(module, stood)
    replace(model, originals)
    return SurgeryReport(tuple(changes))


def new_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that surgery added, by their names in the network.

    They are untrained, while the network may be trained. Give them a separate learning rate, or add them to an existing
    optimizer with ``optimizer.add_param_group``.

    Example:
        >>> from saam.models import create_model
        >>> sum(parameter.numel() for parameter in new_parameters(create_model("resnet8", attention="se")).values())
        791
    """
    new = brought(model)
    return {name: parameter for name, parameter in model.named_parameters() if id(parameter) in new}


def _hand_over_hooks(module: nn.Module, stood: nn.Module) -> None:
    """Move the hooks to the original module. Pruning computes its weights in them."""
    while isinstance(module, Surgical):
        for kind in _HOOKS:
            hooks, new = getattr(stood, kind), getattr(module, kind)
            if hooks:
                hooks.update(new)
            else:
                setattr(stood, kind, new)  # the dict itself, which the handles of its hooks know
        if stood._is_full_backward_hook is None:
            stood._is_full_backward_hook = module._is_full_backward_hook
        module = module.original
