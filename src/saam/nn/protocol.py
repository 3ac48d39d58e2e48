"""What a part of the grammar may declare in addition to its forward. Declarations are optional: nn.Sigmoid has none.

part         declares            meaning                                                default
squeeze      ``statistics``      K, the number of statistics per channel                1
squeeze      ``width``           the number of channels with statistics                 C
squeeze      ``pooling(x)``      the fused form of the squeeze                          none
excitation   ``zero_last_()``    make all logits zero, such that it can still learn     not supported
gate         ``adds``            whether its value is added, not multiplied             False
"""

from collections.abc import Callable

from torch import Tensor, nn

from saam.functional.fused import Pooling

__all__ = ["adds", "pooling_of", "statistics_of", "width_of", "zeroing_of"]


def statistics_of(squeeze: nn.Module, channels: int) -> int:
    """Return K, the number of statistics per channel that a squeeze gives.

    Raises:
        ValueError: If the squeeze gives statistics of another number of channels.
    """
    width = width_of(squeeze, channels)
    if width != channels:
        raise ValueError(
            f"this excitation takes statistics of all {channels} channels, and the squeeze gives those of {width}; "
            "leave out its 'reduced', or use 'gsop'"
        )
    return getattr(squeeze, "statistics", 1)


def width_of(squeeze: nn.Module, channels: int) -> int:
    """Return the number of channels whose statistics a squeeze gives."""
    return getattr(squeeze, "width", channels)


def pooling_of(squeeze: nn.Module) -> Callable[[Tensor], Pooling] | None:
    """Return the fused form of a squeeze, or None. It belongs to one forward, not to that of a subclass or instance."""
    owner = next(part for part in (squeeze, *type(squeeze).__mro__) if "forward" in vars(part))
    return getattr(squeeze, "pooling", None) if "pooling" in vars(owner) else None


def zeroing_of(excitation: nn.Module) -> Callable[[], None] | None:
    """Return the function that makes all logits zero, or None."""
    return getattr(excitation, "zero_last_", None)


def adds(gate: nn.Module) -> bool:
    """Return whether the value of a gate is added to the map."""
    return getattr(gate, "adds", False)
