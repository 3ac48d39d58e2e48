"""Modules that ``torch.fx`` calls as a whole, like the modules of ``torch.nn``."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor
from torch.fx import Proxy

__all__ = ["leaf"]


def leaf(forward: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """Decorate a forward that reads the shape of its input, which the proxies of ``torch.fx`` do not have."""

    @wraps(forward)
    def call(self: Any, x: Any) -> Tensor:
        tracer: Any = x.tracer if isinstance(x, Proxy) else None
        if tracer is None or tracer.root is self:
            return forward(self, x)
        called: Any = tracer.create_proxy("call_module", tracer.path_of_module(self), (x,), {})
        return called

    return call
