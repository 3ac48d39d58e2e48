"""Walking the modules of a network that surgery may have changed."""

from collections.abc import Iterator, Mapping

from torch import nn

from saam.surgery.attended import Attended, is_surgical

__all__ = ["replace", "visible_modules"]


def visible_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return each module once by its first name, as if surgery had never been.

    What surgery put in the place of a module has the name of that module, and its insides are not listed.
    """

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
        for key, child in list(parent.named_children()):
            if child in replacements:
                setattr(parent, key, replacements[child])
