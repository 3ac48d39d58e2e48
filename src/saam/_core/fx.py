"""Modules that ``torch.fx`` calls as a whole, like the modules of ``torch.nn``.

``torch.fx`` runs a network on proxies without a shape, so it cannot trace code that reads the shape of its input.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor, nn
from torch.fx import Proxy

__all__ = ["call_leaf", "leaf"]


def call_leaf(module: nn.Module, x: Any) -> Any:
    """Return ``module(x)``; for a tracer's proxy, a call of it."""
    if isinstance(x, Proxy):
        tracer: Any = x.tracer
        return tracer.create_proxy("call_module", tracer.path_of_module(module), (x,), {})
    return module(x)


def leaf(forward: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Decorate the forward of a module that is called as a whole, unless it is itself the network that is traced."""

    @wraps(forward)
    def call(self: Any, x: Any) -> Tensor:
        tracer: Any = x.tracer if isinstance(x, Proxy) else None
        called: Tensor = forward(self, x) if tracer is None or tracer.root is self else call_leaf(self, x)
        return called

    return call
