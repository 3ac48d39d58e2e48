"""Walking the modules of a network that surgery may have changed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn

from saam.surgery.attended import Attended, is_surgical

__all__ = ["original", "replace", "undone", "visible_modules"]


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


def replace(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> None:
    """Put new modules in the place of old ones, wherever in the network these are."""
    for parent in list(model.modules()):
        for key, child in list(parent._modules.items()):
            if child is not None and child in replacements:
                setattr(parent, key, replacements[child])


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
