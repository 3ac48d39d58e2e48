"""Traverse the modules of a network before and after surgery, and detect networks that surgery does not support."""

import fnmatch
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from torch import nn

from saam.nn import no_weight_decay
from saam.surgery.surgical import Attended, Surgical, original

__all__ = ["brought", "exchanged", "refuse", "refuse_shared", "replace", "undone", "visible_modules"]

_OWN = "_saam_own_no_weight_decay"  # what a network had of that name in place of its class's method

_REASONS = {
    "DistributedDataParallel": "its workers know which parameters they share; use model.module, then wrap it again",
    "DataParallel": "its copies would differ; use model.module",
    "FullyShardedDataParallel": "its parameters are cut into shards; take the network before it is sharded",
    "FSDPModule": "its parameters are cut into shards; take the network before it is sharded",
    "OptimizedModule": "compiled code would ignore the change; use the network that was compiled (model._orig_mod), "
    "then compile again",
    "ScriptModule": "scripted code cannot change; use the Python network, then script it again",
    "UninitializedParameter": "its first input gives its weights their shape; run the network once on an image",
}


def refuse(model: nn.Module, to: str = "change") -> None:
    """Raise an error if a network or a part of it is wrapped, compiled or lazy, such that a change would do harm.

    Args:
        model: The network.
        to: The refused operation: "change" or "save".

    Raises:
        TypeError: If it is not a network, is distributed, compiled or scripted, or has weights without a shape yet.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a network (torch.nn.Module), got {type(model).__name__}")
    for name, module in model.named_modules():
        kinds = {kind.__name__ for kind in type(module).__mro__}
        if getattr(module, "_compiled_call_impl", None) is not None:
            kinds.add("OptimizedModule")
        kinds |= {type(parameter).__name__ for parameter in module.parameters(recurse=False)}
        for kind, reason in _REASONS.items():
            if kind in kinds:
                what = f"the part {name!r} of the network" if name else "the network"
                raise TypeError(f"cannot {to} {what} of type {type(module).__name__} ({kind}): {reason}")


def refuse_shared(options: Mapping[str, Any], places: int) -> None:
    """Raise an error if several places would share one module.

    Raises:
        ValueError: If an option is a module and there is more than one place.
    """
    for name, value in options.items():
        if places > 1 and isinstance(value, nn.Module):
            raise ValueError(
                f"{name}={type(value).__name__}(...) is one module, and {places} sites would share it: pass a function "
                "of the number of channels that builds one for each, or choose a single site"
            )


def brought(model: nn.Module) -> set[int]:
    """Return the ids of the parameters that surgery added to a network."""
    return {
        id(parameter) for module in model.modules() if isinstance(module, Surgical) for parameter in module.brought()
    }


def visible_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Return each module once, by the name that it, or the module that it replaces, had before surgery."""

    def walk(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
        if module in known:
            return
        known.add(module)
        yield name, module
        while isinstance(module, Attended):
            module = module.original
        if not isinstance(module, Surgical):
            for key, child in module.named_children():
                yield from walk(child, f"{name}.{key}" if name else key)

    known: set[nn.Module] = set()
    return dict(walk(model, ""))


def replace(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> None:
    """Replace modules by new ones everywhere in the network.

    The network then gets the method ``no_weight_decay`` for timm's optimizer factory. It returns the names that its
    class returns, and those of the new modules.
    """
    for parent in list(model.modules()):
        for key, child in list(parent._modules.items()):
            if child is not None and child in replacements:
                setattr(parent, key, replacements[child])
    _name_undecayed(model)


def _name_undecayed(model: nn.Module) -> None:
    """Add ``no_weight_decay`` to a network with surgery, and restore the original method otherwise."""
    given = vars(model).pop("no_weight_decay", None)
    if isinstance(given, partial) and given.func is set:  # ours
        given = vars(model).pop(_OWN, None)
    if given is not None:
        model.no_weight_decay = given
    if not (new := brought(model)):
        return
    parameters = dict(model.named_parameters())
    undecayed = {id(parameters[name]) for name in no_weight_decay(model)} & new
    named: Any = getattr(model, "no_weight_decay", None)
    if named is not None:
        patterns = named() if callable(named) else named
        with undone(model):
            own = dict(model.named_parameters())
        undecayed |= {id(own[name]) for pattern in patterns for name in fnmatch.filter(own, pattern)}
    names = frozenset(name for name, parameter in parameters.items() if id(parameter) in undecayed)
    if given is not None:
        setattr(model, _OWN, given)
    model.no_weight_decay = partial(set, names)  # type: ignore[assignment]  # plain values, so that networks can be pickled


@contextmanager
def exchanged(model: nn.Module, replacements: Mapping[nn.Module, nn.Module]) -> Iterator[None]:
    """Replace modules by others everywhere in the network within the block."""
    places = [
        (parent, key, child)
        for parent in model.modules()
        for key, child in parent._modules.items()
        if child is not None and child in replacements
    ]
    for parent, key, child in places:
        parent._modules[key] = replacements[child]
    try:
        yield
    finally:
        for parent, key, child in places:
            parent._modules[key] = child


def undone(model: nn.Module) -> AbstractContextManager[None]:
    """Restore the network to its state before surgery within the block."""
    return exchanged(model, {part: original(part) for part in model.modules() if isinstance(part, Surgical)})
