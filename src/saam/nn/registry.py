"""Attention by name."""

from collections.abc import Mapping
from multiprocessing import parent_process
from typing import Any

from torch import nn

from saam._core.errors import hinted, nearest
from saam._core.options import parse_options, require_options
from saam.nn.attention_record import AttentionRecord

__all__ = ["attention_record", "create_attention", "list_attentions", "parse_attention", "register"]


_RECORDS: dict[str, AttentionRecord] = {}

_UNSEEN = (
    "; a worker process like this one does not run code under `if __name__ == '__main__'`: "
    "register it at the top level of the script, or of a module that the script imports"
)


def register(record: AttentionRecord) -> None:
    """Register an attention under its name, in the current process.

    The workers of a comparison are separate processes, which import the script that started them. Therefore call this
    at the top level of the script or of a module that it imports, not under ``if __name__ == "__main__"``.

    Raises:
        ValueError: If the name is taken.
    """
    if record.name in _RECORDS:
        raise ValueError(f"attention {record.name!r} is registered already; choose another name")
    _RECORDS[record.name] = record


def list_attentions() -> list[str]:
    """Return the registered names, in the order of the catalog.

    Example:
        >>> "saam" in list_attentions()
        True
    """
    return list(_RECORDS)


def attention_record(name: str) -> AttentionRecord:
    """Return the record of a registered attention, or of an attention of timm for ``timm:NAME``.

    Raises:
        ValueError: If there is no such name; the message suggests similar names.
        ModuleNotFoundError: If the name is one of timm and timm is not installed.
        RuntimeError: If the installed timm cannot build this attention.
    """
    if name.startswith("timm:"):
        from saam.nn.attentions.timm import timm_record

        return timm_record(name)
    if name not in _RECORDS:
        text = hinted(f"unknown attention {name!r}", name, _RECORDS)
        unseen = parent_process() is not None and not nearest(name, _RECORDS)
        raise ValueError(text + _UNSEEN if unseen else text)
    return _RECORDS[name]


def create_attention(name: str, channels: int, **options: Any) -> nn.Module:
    """Build a registered attention for a number of channels.

    Args:
        name: See :func:`list_attentions`; ``timm:NAME`` builds timm's attention NAME. Options may follow the name, as
            in ``"eca,squeeze=score"``.
        channels: C of the feature map.
        options: Options of the module, such as ``rd_ratio`` or ``squeeze="score"``.

    Returns:
        A module (B, C, H, W) -> (B, C, H, W).

    Raises:
        ValueError: If there is no such name, an option is given twice, or an option is out of range.
        TypeError: If the module has no such option.

    Example:
        >>> create_attention("eca", 64, squeeze="score").squeeze
        ScorePool2d(64, heads=1, scorer='pixel', kernel_size=1, temperature=1)
    """
    name, options = parse_attention(name, options)
    build = attention_record(name).build
    require_options(f"attention {name!r}", build, options)
    return build(channels, **options)


def parse_attention(text: str, more: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """Split ``"name,option=value,..."``, as on the command line, into name and options.

    Each value is parsed as a Python literal; anything else is kept as a string.

    Args:
        text: A name, with or without options.
        more: Options given separately.

    Raises:
        ValueError: If there is no such name, a part is not ``option=value``, or an option is given twice.

    Example:
        >>> parse_attention("saam,heads=4,scorer=pixel")
        ('saam', {'heads': 4, 'scorer': 'pixel'})
    """
    name, options = parse_options(text)
    attention_record(name)
    for option in options.keys() & (more or {}):
        raise ValueError(f"option {option!r} is given twice, in {text!r} and as a keyword: leave out one of the two")
    return name, {**options, **(more or {})}
