"""A place where attention can go."""

from dataclasses import dataclass
from typing import Literal, get_args

__all__ = ["Kind", "Position", "Site"]

Kind = Literal["residual", "stage", "conv", "attention", "head", "module"]
Position = Literal["after", "before"]


@dataclass(frozen=True)
class Site:
    """One place of a network where attention can go."""

    name: str
    """Name of the module in the network."""
    channels: int
    kind: Kind = "module"
    position: Position = "after"
    """Whether attention comes after the module or before it."""
    stage: int | None = None
    """Index of the map's resolution among the sites of its kind, from 1 for the largest; None if unknown."""
    size: tuple[int, int] | None = None
    """Height and width of the map for the example; None without an example."""

    def __post_init__(self) -> None:
        if self.position not in get_args(Position):
            raise ValueError(f"expected a site with the position 'after' or 'before', got {self.position!r}")

    def __str__(self) -> str:
        size = " at {}x{}".format(*self.size) if self.size else ""
        return f"{self.kind:9} {self.position:6} {self.name}: {self.channels} channels{size}"
