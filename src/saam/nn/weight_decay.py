"""Which parameters of a network are to train without weight decay."""

from torch import nn

__all__ = ["no_weight_decay"]


def no_weight_decay(model: nn.Module) -> set[str]:
    """Return the names of the parameters that the modules of a network want to train without weight decay.

    These are the scorers, wherever they stand, and what authors of attention modules exempt. A module names its own by
    timm's convention, a method ``no_weight_decay()``; this function asks every module of the network, also inside a
    wrapper that has no such method.

    Args:
        model: Any module.

    Returns:
        Names as in ``model.named_parameters()``; biases and norms are not among them unless a module names them.

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
