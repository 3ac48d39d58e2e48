"""Attention by name: one frozen record for each module, and the functions that look them up."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import parent_process
from typing import Any, Literal

import torch
from torch import nn

from saam._core.errors import hinted, nearest
from saam._core.options import parse_options, require_options
from saam.nn.squeeze import MapSize

__all__ = ["AttentionRecord", "attention_record", "create_attention", "list_attentions", "parse_attention", "register"]


@dataclass(frozen=True, kw_only=True)
class AttentionRecord:
    """What saam knows of one attention module."""

    name: str
    """Registry name; variants follow a colon, as in ``se:timm``."""
    build: Callable[..., nn.Module]
    """Function of the channels and keyword options."""
    description: str
    """One line."""
    paper: str
    """Authors, title, venue."""
    arxiv: str = ""
    """arXiv number, where there is one."""
    source: str
    """Where the authors' code is, or who defined the variant."""
    placement: str = "residual"
    """Where the paper puts the module."""
    formula: str = ""
    """The number of parameters with default options, in words of C, p = C/16, k, H and W."""
    weight_decay: str = "on all weights, not on biases and norms"
    """The authors' rule for weight decay."""
    needs: tuple[Literal["size", "stage"], ...] = ()
    """Options that tell the module where it stands: "size", (H, W) or a number for both, if it takes maps of one size
    only; "stage", from 1, if it depends on the stage of the network."""
    notes: str = ""
    """How it differs from its variants, and what to look out for."""

    def options_at(self, *, size: MapSize = 7, stage: int = 1) -> dict[str, Any]:
        """Return the options that the module needs at a site: of ``size`` and ``stage`` those in ``needs``."""
        site = {"size": size, "stage": stage}
        return {name: site[name] for name in self.needs}

    def parameters(self, channels: int, **options: Any) -> int:
        """Return the number of parameters of a module, which is built on the meta device.

        Args:
            channels: C.
            options: The module's own. A size that it needs is 7 if it is not given, a stage 1.
        """
        with torch.device("meta"):
            module = self.build(channels, **self.options_at() | options)
        return sum(parameter.numel() for parameter in module.parameters())


_RECORDS: dict[str, AttentionRecord] = {}

_UNSEEN = (
    "; a worker process like this one does not see what is registered under `if __name__ == '__main__'`: register it "
    "at the top level of the script, or of a module that the script imports"
)


def register(record: AttentionRecord) -> None:
    """Make a module known by its name, in the process that calls this.

    The workers of a comparison are processes of their own, which import the script that started them: call this at the
    top level of that script or of a module that it imports, not under ``if __name__ == "__main__"``.

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
    """Return the record of a registered attention, or for ``timm:NAME`` of an attention of timm.

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
        name: See :func:`list_attentions`; ``timm:NAME`` builds what timm calls NAME. Options may follow it, as in
            ``"eca,squeeze=score"``.
        channels: C of the feature map.
        options: The module's own, such as ``rd_ratio`` or ``squeeze="score"``.

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
    """Split ``"name,option=value,..."``, as the command line takes it, into name and options.

    Values are Python literals, and what is none is a string.

    Args:
        text: A name, with or without options.
        more: Options that were given beside the text.

    Raises:
        ValueError: If there is no such name, a part is not ``option=value``, or an option is given twice.

    Example:
        >>> parse_attention("saam,heads=4,scorer=pixel")
        ('saam', {'heads': 4, 'scorer': 'pixel'})
    """
    name, options = parse_options(text)
    attention_record(name)
    for option in options.keys() & (more or {}):
        raise ValueError(f"option {option!r} is given twice, in {text!r} and beside it: leave out one of the two")
    return name, {**options, **(more or {})}
