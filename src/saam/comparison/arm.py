"""One arm of a comparison: an attention in the common backbone, or a control without attention."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from saam._core.objects import is_reference
from saam._core.options import parse_options
from saam.explain.score_maps import has_scores
from saam.nn import attention_record, create_attention, list_attentions, parse_attention

__all__ = ["CONTROLS", "PLAIN", "WIDER", "WIDER_TIME", "Arm", "is_own"]

PLAIN = "none"
WIDER = "wider"
WIDER_TIME = "wider:time"
CONTROLS = (PLAIN, WIDER, WIDER_TIME)


@dataclass(frozen=True)
class Arm:
    """The attention that an arm adds to the backbone, and the pooling before the classifier.

    Attributes:
        label: A registered name, or ``package.module:Class`` for the user's own class, which takes the number of
            channels. Options follow, sorted by name, so that an arm has one label. The controls are "none", the plain
            backbone (with its own options, if any, as in "none,width=24"), "wider", the plain backbone widened to as
            many parameters as the focus arm has, and "wider:time", widened to the time of its training step. The option
            ``head`` is the squeeze that pools before the classifier, as in "none,head=score".

    Raises:
        ValueError: If there is no such attention, or the options cannot be parsed.

    Example:
        >>> Arm("saam, scorer=pixel, heads=4").label
        'saam,heads=4,scorer=pixel'
    """

    label: str

    def __post_init__(self) -> None:
        try:
            name, options = parse_options(self.label.strip())
        except ValueError as error:
            raise ValueError(f"{error}; separate arms by spaces, as in: none se saam,heads=4") from None
        if name in (WIDER, WIDER_TIME) and options:
            raise ValueError(f"{name!r} takes no option, got {self.label!r}")
        if name not in CONTROLS and not is_own(name):
            parse_attention(name)
        label = ",".join([name, *(f"{option}={value}" for option, value in sorted(options.items()))])
        object.__setattr__(self, "label", label)

    @property
    def name(self) -> str:
        """The name of the attention, without options."""
        return _parsed(self.label)[0]

    @property
    def own(self) -> bool:
        """Whether the arm names the user's own class instead of a registered attention."""
        return is_own(self.name)

    @property
    def options(self) -> dict[str, Any]:
        """The options of the attention, or of the backbone if there is no attention."""
        return {option: value for option, value in _parsed(self.label)[1].items() if option != "head"}

    @property
    def head(self) -> str | None:
        """The squeeze before the classifier; None for the backbone's own pooling."""
        head: str | None = _parsed(self.label)[1].get("head")
        return head

    @property
    def plain(self) -> bool:
        """Whether the arm has no attention, except perhaps in the head."""
        return self.name in CONTROLS

    @property
    def control(self) -> bool:
        """Whether the arm has no attention, and the pooling of the backbone."""
        return self.plain and self.head is None

    @property
    def attention(self) -> str:
        """The label without the head; "none" for a control."""
        if self.plain:
            return PLAIN
        return ",".join([self.name, *(f"{option}={value}" for option, value in self.options.items())])

    @property
    def scored(self) -> bool:
        """Whether the arm has a score squeeze, found out by building the attention on the meta device.

        The user's own class counts as having none.
        """
        if self.head is not None and self.head.startswith("score"):
            return True
        return not self.plain and _has_scores(self.name, self.attention)


def is_own(name: str) -> bool:
    """Return whether a name is the ``package.module:Name`` of the user's own code, and not a registered attention."""
    families = {known.partition(":")[0] for known in (*CONTROLS, *list_attentions())}  # "gc:mul" is registered
    return is_reference(name) and name.partition(":")[0] not in families


@lru_cache(maxsize=1000)
def _parsed(label: str) -> tuple[str, dict[str, Any]]:
    return parse_options(label)


@lru_cache(maxsize=1000)
def _has_scores(name: str, attention: str) -> bool:
    if is_own(name):  # a plan from a stranger may name it, so it is not imported
        return False
    with torch.device("meta"):
        try:
            return has_scores(create_attention(attention, 64, **_needed(name, attention)))
        except (TypeError, ValueError):  # wrong options, or unsupported channels
            return has_scores(create_attention(name, 64, **_needed(name, name)))


def _needed(name: str, attention: str) -> dict[str, Any]:
    given = _parsed(attention)[1]
    return {option: value for option, value in attention_record(name).options_at().items() if option not in given}
