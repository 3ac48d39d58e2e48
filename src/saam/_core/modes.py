"""Training and evaluation mode of a network, put back module by module."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["mode"]


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Switch a network to training or evaluation; afterwards every module has its own former mode, also if mixed."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, former in before:
            module.training = former
