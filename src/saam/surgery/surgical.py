"""Modules that stand where others stood.

They are wrappers rather than hooks: a norm that is rebuilt, as by the conversion to SyncBatchNorm, loses its hooks.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch import nn
from torch.fx import Proxy

from saam.surgery.identity import FadedIn
from saam.surgery.site import Site

__all__ = ["Attended", "Surgical", "call_leaf", "keep_keys", "original"]


class Surgical(nn.Module):
    """A module that surgery put where another one stood.

    Under its name both are found: a public name that this module does not have is read, set and deleted in the other,
    parameters and buffers included. So ``norm.eps = 1e-3``, a new weight, ``functional_call`` with a state dict and
    pruning do what they did before. Parametrization swaps the class of a module and is refused.
    """

    request: dict[str, Any]
    """How the surgery was asked for."""

    def _prepare(self, module: nn.Module, request: Mapping[str, Any] | None) -> None:
        """Take over what a module is asked for; its names are found here once ``_behind`` returns it."""
        self.request = dict(request or {})
        self.training = module.training
        self._parameters: Any = _Behind(self, "_parameters")
        self._buffers: Any = _Behind(self, "_buffers")

    def _behind(self) -> nn.Module | None:
        """Return what stood here, or None while this module is being built."""
        stood: tuple[nn.Module, ...] = vars(self).get("_stood", ())  # not bare, or it would be a child with keys
        return stood[0] if stood else None

    @property
    def original(self) -> nn.Module:
        """What stood here."""
        module = self._behind()
        assert module is not None
        return module

    def brought(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that came with this module."""
        old = {id(parameter) for parameter in self.original.parameters()}
        yield from (parameter for parameter in self.parameters() if id(parameter) not in old)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            module = self._behind()
            if module is None or name.startswith("__"):
                raise
            return getattr(module, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if self._owns(name):
            super().__setattr__(name, value)
        else:
            setattr(self.original, name, value)

    def __delattr__(self, name: str) -> None:
        if self._owns(name):
            super().__delattr__(name)
        elif name in self._parameters or name in self._buffers:
            raise TypeError(
                f"cannot parametrize or delete {name!r} through the {type(self).__name__} that surgery put here: do it "
                "to the module behind it, which is its attribute .original"
            )
        else:
            delattr(self.original, name)

    def _owns(self, name: str) -> bool:
        known = name.startswith("_") or name in vars(self) or name in self._modules or hasattr(type(self), name)
        return known or self._behind() is None

    def __prepare_scriptable__(self) -> nn.Module:
        """Refuse ``torch.jit.script``, which calls this."""
        raise TypeError(
            "cannot script a network that surgery changed: its attention chooses its computation in Python as it runs; "
            "use torch.export.export or torch.jit.trace, or detach(model) first"
        )


class _Behind(dict[str, Any]):
    """The parameters or buffers of what stood at a place: found and changed by name, listed by their owner alone."""

    def __init__(self, module: Surgical, kind: str) -> None:
        super().__init__()
        self.module, self.kind = module, kind

    def _owned(self) -> dict[str, Any]:
        return getattr(self.module._behind(), self.kind, {})

    def __contains__(self, name: object) -> bool:
        return name in self._owned()

    def __getitem__(self, name: str) -> Any:
        return self._owned()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._owned()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._owned()[name]


class Attended(Surgical):
    """``attention(module(x))``, or ``module(attention(x))``, standing where ``module`` stood.

    The state dict keeps the keys of ``module`` as they were (``bn2.weight``) and adds those of the attention
    (``bn2.attention...``), so that weights saved before load after, and the other way round.

    Args:
        module: What stood here.
        attention: (B, C, H, W) -> (B, C, H, W).
        site: Where this is; its position says whether the attention sees what the module gives, or what it takes first.
        request: How the attention was asked for, see :func:`saam.attach`.

    Raises:
        ValueError: If the module already has a child called "attention", so that the keys would be ambiguous.
    """

    def __init__(
        self, module: nn.Module, attention: nn.Module, *, site: Site, request: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        if "attention" in dict(module.named_children()):
            raise ValueError("the module has a child called 'attention' already; choose a site inside of it")
        self._prepare(module, request)
        self.register_module("module", None)  # the first child, but the last to come
        self.attention = attention
        self.site = site
        attention.train(module.training)
        keep_keys(self, "module", "attention")
        self.module = module

    def _behind(self) -> nn.Module | None:
        return self._modules.get("module")

    @property
    def built(self) -> nn.Module:
        """The attention as it was built, without what fades it in."""
        return self.attention.attention if isinstance(self.attention, FadedIn) else self.attention

    @property
    def label(self) -> str:
        """Name of the attention: the registered one that was asked for, or the class of what a function built."""
        asked = self.request.get("attention")
        if isinstance(asked, str):
            return asked
        return type(original(self.built)).__name__

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module and the attention."""
        if self.site.position == "after":
            return call_leaf(self.attention, self.module(*args, **kwargs))
        return self.module(call_leaf(self.attention, args[0]), *args[1:], **kwargs)

    def extra_repr(self) -> str:
        """Say where the attention is."""
        return f"position={self.site.position!r}"


def call_leaf(module: nn.Module, x: Any, forward: Any = None) -> Any:
    """Return ``module(x)``, or ``forward(x)`` in a forward of the module's own; for a tracer's proxy, a call of it.

    ``torch.fx`` runs a network on proxies that have no shape. What looks at the shape of its input cannot be traced; a
    traced network calls it whole, as it calls the modules of ``torch.nn``.
    """
    if isinstance(x, Proxy):
        tracer: Any = x.tracer
        return tracer.create_proxy("call_module", tracer.path_of_module(module), (x,), {})
    return (forward or module)(x)


def keep_keys(wrapper: nn.Module, inner: str, own: str, tied: Mapping[str, str] | None = None) -> None:
    """Drop ``inner`` from the keys of a wrapper's state dict, and put it back when one is loaded.

    Args:
        wrapper: A module that has the wrapped one and one new child with a state.
        inner: Path of the wrapped module in the wrapper, such as "module".
        own: Name of the new child; the wrapped module must not have a child of this name.
        tied: Key of a new parameter that is one with a parameter of the wrapped module -> that one's key. Left out.
    """
    names: dict[str, Any] = {"inner": inner + ".", "own": own + ".", "tied": dict(tied or {})}
    wrapper.register_state_dict_post_hook(partial(_shorten, **names))  # type: ignore[no-untyped-call]
    wrapper.register_load_state_dict_pre_hook(partial(_lengthen, **names))  # type: ignore[no-untyped-call]


def _shorten(
    _: nn.Module, state: dict[str, Any], prefix: str, __: Any, *, inner: str, own: str, tied: dict[str, str]
) -> None:
    entries = {key[len(prefix) :]: state.pop(key) for key in list(state) if key.startswith(prefix)}
    kept = {key.removeprefix(inner): value for key, value in entries.items() if not key.startswith(own)}
    new = {key: value for key, value in entries.items() if key.startswith(own) and key not in tied}
    state.update({prefix + key: value for key, value in (kept | new).items()})
    versions = getattr(state, "_metadata", {})
    for key in [key for key in versions if f"{key}.".startswith(prefix + inner)]:
        versions[(prefix + key[len(prefix + inner) :]).rstrip(".")] = versions.pop(key)


def _lengthen(
    _: nn.Module, state: dict[str, Any], prefix: str, *__: Any, inner: str, own: str, tied: dict[str, str]
) -> None:
    for new, old in tied.items():
        if prefix + old in state:
            state[prefix + new] = state[prefix + old]
    for key in [key for key in state if key.startswith(prefix) and not key.startswith(prefix + own)]:
        state[prefix + inner + key[len(prefix) :]] = state.pop(key)


def original(module: nn.Module) -> nn.Module:
    """Return what stood at a place before surgery, or the module itself."""
    while isinstance(module, Surgical):
        module = module.original
    return module
