"""Run a network with hooks: in eval mode, and without code that torch.compile made, because it skips new hooks."""

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import RLock
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from saam._core.modes import mode

__all__ = ["first_input", "hooked", "inspected"]

_ONE_AT_A_TIME = RLock()  # torch has one stance for all threads; two that overlap would not restore it


@contextmanager
def inspected(model: nn.Module, *, gradients: bool = False) -> Iterator[None]:
    """Switch a network to eval mode and run compiled parts of it eagerly; restore both at the end.

    Args:
        model: The network.
        gradients: Whether gradients are recorded in the block.
    """
    with mode(model, training=False), torch.set_grad_enabled(gradients):
        if "torch._dynamo" not in sys.modules:  # nothing is compiled, and the import would take seconds
            yield
            return
        with _ONE_AT_A_TIME, torch.compiler.set_stance("force_eager"):
            yield


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Register hooks, and remove them at the end.

    Args:
        handles: What registering each hook returns.
    """
    kept = list(handles)
    try:
        yield
    finally:
        for handle in kept:
            handle.remove()


def first_input(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return the first argument of a module's call, whether it was passed by position or by keyword."""
    if args:
        return args[0]
    return next(iter(inspect.signature(module.forward).bind(**kwargs).arguments.values()))
