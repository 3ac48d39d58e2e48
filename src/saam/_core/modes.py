"""Switch a network between training and evaluation mode, and restore the mode of every module."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["mode"]


@contextmanager
def mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Switch a network to training or evaluation mode, and restore the former mode of every module at the end.

    Each way calls ``train``, which some modules override, for example to merge weights for evaluation.
    """
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, former in before:  # parents come first
            if module.training != former:
                module.train(former)
