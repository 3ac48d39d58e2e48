"""State dicts of a module that wraps another: the keys of the wrapped one stay as they were without the wrapper."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

__all__ = ["keep_keys"]


def keep_keys(wrapper: nn.Module, inner: str, own: str, tied: Mapping[str, str] | None = None) -> None:
    """Drop ``inner`` from the keys of a wrapper's state dict, and put it back when one is loaded.

    Args:
        wrapper: a module that has the wrapped one and one new child with a state.
        inner: path of the wrapped module in the wrapper, such as "module".
        own: name of the new child; the wrapped module must not have a child of this name.
        tied: key of a new parameter that is one with a parameter of the wrapped module -> that one's key. Left out.
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
