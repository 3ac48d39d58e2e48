"""A module of a network with attention at it, in the module's own place."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from saam.surgery.keys import keep_keys
from saam.surgery.leaf import call_leaf
from saam.surgery.site import Site

__all__ = ["Attended", "is_surgical"]


class Attended(nn.Module):
    """``attention(module(x))``, or ``module(attention(x))``, standing where ``module`` stood.

    The state dict keeps the keys of ``module`` as they were (``bn2.weight``) and adds those of the attention
    (``bn2.attention...``), so that weights saved before load after, and the other way round. Attributes that this class
    lacks are looked up in ``module``.

    Args:
        module: what stood here.
        attention: (B, C, H, W) -> (B, C, H, W).
        site: where this is; its position says whether the attention sees what the module gives, or what it takes first.
        request: how the attention was asked for, see :func:`saam.attach`.

    Raises:
        ValueError: the module has a child called "attention" already, so that the keys could not be told apart.
    """

    surgical = True

    def __init__(
        self,
        module: nn.Module,
        attention: nn.Module,
        *,
        site: Site,
        request: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if "attention" in dict(module.named_children()):
            raise ValueError("the module has a child called 'attention' already; choose a site inside of it")
        self.module = module
        self.attention = attention
        self.site = site
        self.request = dict(request or {})
        self.training = module.training
        attention.train(module.training)
        keep_keys(self, "module", "attention")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module and the attention."""
        if self.site.position == "after":
            return call_leaf(self.attention, self.module(*args, **kwargs))
        return self.module(call_leaf(self.attention, args[0]), *args[1:], **kwargs)

    @property
    def original(self) -> nn.Module:
        """What stood here."""
        return self.module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def extra_repr(self) -> str:
        """Say where the attention is."""
        return f"position={self.site.position!r}"


def is_surgical(module: nn.Module) -> bool:
    """Whether surgery put this module in the place of another."""
    return bool(vars(type(module)).get("surgical", False))
