"""Parameters of a network to train without weight decay."""

from torch import nn

__all__ = ["no_weight_decay"]


def no_weight_decay(model: nn.Module) -> set[str]:
    """Return the names of the parameters that the modules of a network exempt from weight decay.

    These are all scorers, and the parameters that authors of attention modules exempt. A module names its own with the
    method ``no_weight_decay()``, which is timm's convention. This function asks every module of the network, also
    inside a wrapper without such a method.

    Args:
        model: Any module.

    Returns:
        Names as in ``model.named_parameters()``. Biases and norms are included only if a module names them.

    Example:
        >>> from saam import ScorePool2d
        >>> no_weight_decay(nn.Sequential(nn.Conv2d(3, 8, 1), ScorePool2d(8)))
        {'1.weight'}
    """
    names: set[str] = set()
    for path, module in model.named_modules():
        named = getattr(module, "no_weight_decay", None)
        if callable(named):
            names |= {f"{path}.{name}" if path else name for name in named()}
    return names & {name for name, _ in model.named_parameters()}
