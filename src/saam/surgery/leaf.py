"""Modules that symbolic tracing leaves whole.

``torch.fx`` runs a network on proxies that have no shape, so what looks at the shape of its input cannot be traced. A
traced network calls such a module instead, as it calls those of ``torch.nn``.
"""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.fx import Proxy

__all__ = ["call_leaf"]


def call_leaf(module: nn.Module, x: Any, forward: Callable[[Any], Any] | None = None) -> Any:
    """Return ``module(x)``, or ``forward(x)`` in a forward of the module's own; for a tracer's proxy, a call of it."""
    if isinstance(x, Proxy):
        tracer: Any = x.tracer
        return tracer.create_proxy("call_module", tracer.path_of_module(module), (x,), {})
    return (forward or module)(x)
