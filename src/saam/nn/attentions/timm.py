"""All attentions of timm that keep the shape of the map, by their name in timm's ``create_attn``.

timm is imported when such a name is requested. The modules are timm's own, with timm's options and defaults.
"""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from saam._core.errors import unknown
from saam.nn._check import require_channels
from saam.nn.attention_record import AttentionRecord

__all__ = ["timm_record"]

_PREFIX = "timm:"

# timm has no list of names, only a chain of ifs. These are for the error text; names that timm adds work too.
_KNOWN = (
    *("se", "ese", "eca", "ecam", "ceca", "ge", "gc", "gca", "cbam", "lcbam", "coord", "scoord", "ela", "strip"),
    *("sk", "splat", "lambda", "bottleneck", "halo", "nl", "bat"),
)

_OF_ONE_SIZE = frozenset({"bottleneck"})

_NOTES = {
    "bat": "Height and width must be multiples of block_size, 7 by default.",
    "bottleneck": "The channels must be divisible by num_heads, 4 by default.",
    "cbam": "Its spatial part stacks [mean, max], the authors' code [max, mean]. Its MLP has no biases.",
    "halo": "The channels must be divisible by num_heads, height and width by block_size; both are 8 by default.",
    "lambda": "The channels must be divisible by num_heads, 4 by default.",
}

_CHANGE_THE_SHAPE = frozenset({"out_channels", "dim_out", "stride", "padding", "dilation"})


class _Build:
    """Build an attention of timm. The signature shows the options of timm's class that keep the shape."""

    def __init__(self, name: str, layer: Callable[..., nn.Module], fixed_size: bool) -> None:
        self.name = name
        self.layer = layer
        self.fixed_size = fixed_size
        channels, *options = inspect.signature(layer).parameters.values()
        kept = [
            option.replace(kind=option.KEYWORD_ONLY, name=self._rename(option.name))
            for option in options
            if option.kind is not option.VAR_KEYWORD and option.name not in _CHANGE_THE_SHAPE
        ]
        self.__signature__ = inspect.Signature([channels.replace(kind=channels.POSITIONAL_ONLY), *kept])

    def _rename(self, option: str) -> str:
        return "size" if self.fixed_size and option == "feat_size" else option

    def __call__(self, channels: int, **options: Any) -> nn.Module:
        require_channels(channels)
        if self.fixed_size:
            if "size" not in options:
                raise ValueError(f"{self.name!r} is built for maps of one size: give it as size=(height, width)")
            options["feat_size"] = options.pop("size")
        try:
            return self.layer(channels, **options)
        except (AssertionError, ValueError) as error:
            reason = str(error).strip() or "timm gives no reason"
            hint = _NOTES.get(self.name.removeprefix(_PREFIX), "Choose other channels or options.")
            raise ValueError(f"timm cannot build {self.name!r} for {channels} channels ({reason}): {hint}") from error


def timm_record(name: str) -> AttentionRecord:
    """Return the record of an attention of timm.

    Its options are those of timm's class, except those that change the shape of the map.

    Args:
        name: Name with prefix, such as ``"timm:gca"``.

    Raises:
        ModuleNotFoundError: If timm is not installed.
        ValueError: If timm has no such attention.
        RuntimeError: If the installed timm knows it but fails to build it.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"attention {name!r} needs timm: pip install 'saam[models]'") from error

    short = name.removeprefix(_PREFIX)
    layer = _layer(short)
    if layer is None:
        raise unknown("attention", name, [_PREFIX + known for known in _KNOWN if _layer(known)])

    fixed_size = short in _OF_ONE_SIZE
    record = AttentionRecord(
        name=name,
        build=_Build(name, layer, fixed_size),
        description=f"timm's {getattr(layer, 'func', layer).__name__}, unchanged",
        paper="see timm's documentation",
        source="huggingface/pytorch-image-models, timm/layers/create_attn.py",
        needs=("size",) if fixed_size else (),
        notes=_NOTES.get(short, ""),
    )
    try:
        record.parameters(64)
    except TypeError as error:
        raise RuntimeError(
            f"timm {timm.__version__} knows {short!r} and fails to build it ({error}): use another version of timm, "
            "or one of saam.list_attentions()"
        ) from error
    return record


def _layer(name: str) -> Callable[..., nn.Module] | None:
    """Return the class with this name in the installed timm, or None."""
    from timm.layers import get_attn

    try:
        return get_attn(name)
    except AssertionError:
        return None
