"""Modules that replace others in surgery.

They are wrappers rather than hooks, because a rebuilt norm loses its hooks, for example when converted to
SyncBatchNorm.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from torch import nn

from saam._core.fx import call_leaf
from saam.surgery.identity import FadedIn
from saam.surgery.site import Site

__all__ = ["INNER", "Attended", "Surgical", "keep_keys", "original"]

INNER = "_checkpoint_wrapped_module"
"""Name of the replaced module among the children. Distributed checkpoints and FSDP strip this name, which is that of
torch's own wrapper, from the names of parameters, and so find the keys of the state dict."""

_PREFIX = f"{INNER}."


class Surgical(nn.Module):
    """A module that surgery put in the place of another one.

    Public names that this module does not have are read, set and deleted in the replaced module, including parameters
    and buffers. So ``norm.eps = 1e-3``, a new weight, ``functional_call`` with a state dict and pruning work as before.
    Parametrization swaps the class of a module and is refused.
    """

    request: dict[str, Any]
    """The arguments of the surgery."""

    def _prepare(self, module: nn.Module, request: Mapping[str, Any] | None) -> None:
        """Redirect attribute access; names are found in the replaced module once ``_behind`` returns it."""
        self.request = dict(request or {})
        self.training = module.training
        self._parameters: Any = _Behind(self, "_parameters")
        self._buffers: Any = _Behind(self, "_buffers")

    def _behind(self) -> nn.Module | None:
        """Return the replaced module, or None while this module is being built."""
        stood: tuple[nn.Module, ...] = vars(self).get("_stood", ())  # in a tuple, or it would be a child with keys
        return stood[0] if stood else None

    @property
    def original(self) -> nn.Module:
        """The replaced module."""
        module = self._behind()
        assert module is not None
        return module

    def brought(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that this module added."""
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
                f"cannot parametrize or delete {name!r} through the {type(self).__name__} that surgery put here: do "
                "it on the original module, which is its attribute .original"
            )
        else:
            delattr(self.original, name)

    def _owns(self, name: str) -> bool:
        known = name.startswith("_") or name in vars(self) or name in self._modules or hasattr(type(self), name)
        return known or self._behind() is None

    def __prepare_scriptable__(self) -> nn.Module:
        """Refuse ``torch.jit.script``, which calls this."""
        raise TypeError(
            "cannot script a network that surgery changed: its attention selects its code in Python at run time; "
            "use torch.export.export or torch.jit.trace, or detach(model) first"
        )


class _Behind(dict[str, Any]):
    """The parameters or buffers of a replaced module: accessible by name, but listed only by their owner."""

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
    """``attention(module(x))``, or ``module(attention(x))``, in the place of ``module``.

    The state dict keeps the keys of ``module`` (``bn2.weight``) and adds those of the attention (``bn2.attention...``),
    so that weights saved before surgery load after it, and vice versa.

    Args:
        module: The replaced module.
        attention: (B, C, H, W) -> (B, C, H, W).
        site: Its site; the position says whether the attention takes the output of the module, or its first input.
        request: The arguments of the call, see :func:`saam.attach`.

    Raises:
        ValueError: If the module already has a child called "attention", so that the keys would be ambiguous.
    """

    def __init__(
        self, module: nn.Module, attention: nn.Module, *, site: Site, request: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__()
        if "attention" in dict(module.named_children()):
            raise ValueError("the module already has a child called 'attention'; choose a site inside it")
        self._prepare(module, request)
        self.register_module(INNER, None)  # reserves the first place among the children
        self.attention = attention
        self.site = site
        attention.train(module.training)
        keep_keys(self, "attention")
        self._modules[INNER] = module

    def _behind(self) -> nn.Module | None:
        return self._modules.get(INNER)

    @property
    def built(self) -> nn.Module:
        """The attention as built, without the wrapper that fades it in."""
        return self.attention.attention if isinstance(self.attention, FadedIn) else self.attention

    @property
    def label(self) -> str:
        """Name of the attention: its registered name, or the class of the module that a function built."""
        asked = self.request.get("attention")
        if isinstance(asked, str):
            return asked
        return type(original(self.built)).__name__

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module and the attention."""
        if self.site.position == "after":
            return call_leaf(self.attention, self.original(*args, **kwargs))
        return self.original(call_leaf(self.attention, args[0]), *args[1:], **kwargs)

    def extra_repr(self) -> str:
        """Name the position of the attention."""
        return f"position={self.site.position!r}"


def keep_keys(wrapper: nn.Module, own: str, tied: Mapping[str, str] | None = None) -> None:
    """Drop ``INNER`` from the keys of a wrapper's state dict, and restore it when one is loaded.

    Args:
        wrapper: A module with the child ``INNER``, the wrapped module, and one new child that has a state.
        own: Name of the new child; the wrapped module must not have a child of this name.
        tied: For each new parameter that is tied to one of the wrapped module, its key -> the key of the latter. It is
            loaded from the latter.
    """
    own += "."
    wrapper.register_state_dict_post_hook(partial(_shorten, own=own))  # type: ignore[no-untyped-call]
    lengthen = partial(_lengthen, own=own, tied=dict(tied or {}))
    wrapper.register_load_state_dict_pre_hook(lengthen)  # type: ignore[no-untyped-call]


def _shorten(_: nn.Module, state: dict[str, Any], prefix: str, __: Any, *, own: str) -> None:
    entries = {key[len(prefix) :]: state.pop(key) for key in list(state) if key.startswith(prefix)}
    own_last = sorted(entries, key=lambda key: key.startswith(own))
    state.update({prefix + key.removeprefix(_PREFIX): entries[key] for key in own_last})
    versions = getattr(state, "_metadata", {})
    for key in [key for key in versions if f"{key}.".startswith(prefix + _PREFIX)]:
        versions[(prefix + key[len(prefix + _PREFIX) :]).rstrip(".")] = versions.pop(key)


def _lengthen(_: nn.Module, state: dict[str, Any], prefix: str, *__: Any, own: str, tied: dict[str, str]) -> None:
    for new, old in tied.items():
        if prefix + old in state:
            state[prefix + new] = state[prefix + old]
    for key in [key for key in state if key.startswith(prefix) and not key.startswith(prefix + own)]:
        state[prefix + _PREFIX + key[len(prefix) :]] = state.pop(key)


def original(module: nn.Module) -> nn.Module:
    """Return the module that was replaced, or the module itself."""
    while isinstance(module, Surgical):
        module = module.original
    return module
