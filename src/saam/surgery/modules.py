"""Walking the modules of a network that surgery may have changed."""

import fnmatch
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import nn

from saam.surgery.attended import Attended, is_surgical

__all__ = ["brought", "original", "replace", "undone", "visible_modules"]


def original(module: nn.Module) -> nn.Module:
    """Return what stood at a place before surgery, or the module itself."""
    while is_surgical(module):
        module = module.original  # type: ignore[assignment]
    return module


def visible_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return each module once by the name that it has, or that what stood there had, without surgery."""

    def walk(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
        if module in known:
            return
        known.add(module)
        yield name, module
        while isinstance(module, Attended):
            module = module.module
        if not is_surgical(module):
            for key, child in module.named_children():
                yield from walk(child, f"{name}.{key}" if name else key)

    known: set[nn.Module] = set()
    return dict(walk(model, ""))


def brought(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters that came with a module that surgery put somewhere."""
    if isinstance(module, Attended):
        yield from module.attention.parameters()
    else:
        old = {id(parameter) for parameter in original(module).parameters()}
        yield from (parameter for parameter in module.parameters() if id(parameter) not in old)


def replace(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> None:
    """Put new modules in the place of old ones, wherever in the network these are.

    The network then names what to train without weight decay as timm's optimizer factory asks for it: what its class
    names, and what the new modules name.
    """
    for parent in list(model.modules()):
        for key, child in list(parent._modules.items()):
            if child is not None and child in replacements:
                setattr(parent, key, replacements[child])
    _name_undecayed(model)


def _name_undecayed(model: nn.Module) -> None:
    """Give a network with surgery a method ``no_weight_decay``, and one without surgery its own back."""
    vars(model).pop("no_weight_decay", None)
    new = {id(parameter) for module in model.modules() if is_surgical(module) for parameter in brought(module)}
    if not new:
        return
    undecayed = set()
    for path, module in model.named_modules(prefix=""):
        exempt = getattr(type(module), "no_weight_decay", None)
        if path and exempt is not None:
            undecayed |= {id(module.get_parameter(name)) for name in exempt(module)} & new
    named: Any = getattr(model, "no_weight_decay", None)
    if named is not None:
        patterns = named()
        with undone(model):
            own = dict(model.named_parameters())
        undecayed |= {id(own[name]) for pattern in patterns for name in fnmatch.filter(own, pattern)}
    names = frozenset(name for name, parameter in model.named_parameters() if id(parameter) in undecayed)
    model.no_weight_decay = partial(set, names)  # type: ignore[assignment]  # plain values, so that networks pickle


@contextmanager
def undone(model: nn.Module) -> Iterator[None]:
    """Let a network be what it was before surgery, for as long as one looks at it."""
    places = [
        (parent, key, child)
        for parent in list(model.modules())
        for key, child in parent._modules.items()
        if child is not None and is_surgical(child)
    ]
    for parent, key, child in places:
        parent._modules[key] = original(child)
    try:
        yield
    finally:
        for parent, key, child in places:
            parent._modules[key] = child
