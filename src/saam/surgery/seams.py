"""The seam of a value: the module that attention follows or precedes, so that it sees exactly that value."""

from collections import Counter
from collections.abc import Sequence

from saam.surgery.graph import WEIGHTED, Graph, Value
from saam.surgery.joins import Join
from saam.surgery.site import Position

__all__ = ["Seam", "join_seams", "value_seam"]

Seam = tuple[str, Position]


def value_seam(graph: Graph, value: Value) -> Seam | None:
    """Return the innermost seam of a value that belongs to no other value, or None."""
    return next((seam for seam in _candidates(graph, value) if graph.calls[seam[0]] == 1), None)


def join_seams(graph: Graph, joins: Sequence[Join]) -> list[tuple[Seam, Value]]:
    """Return the seam at the end of each join's branch and the value there; shared modules come once.

    Where the branch ends without a module the seam is one step back, before a layer scale or activation, and if there
    is none either it is right after the join.
    """
    options = [_branch_options(graph, join) for join in joins]
    hits = Counter(seam for candidates in options for seam, _ in candidates)
    found: dict[str, tuple[Seam, Value]] = {}
    for candidates in options:
        for seam, value in candidates:
            if graph.calls[seam[0]] == hits[seam]:
                found.setdefault(seam[0], (seam, value))
                break
    return list(found.values())


def _branch_options(graph: Graph, join: Join) -> list[tuple[Seam, Value]]:
    values = [join.branch, *_steps_back(graph, join)]
    return [(seam, value) for value in values for seam in _candidates(graph, value)] + [
        (seam, join.result) for seam in _candidates(graph, join.result, entries=True)
    ]


def _steps_back(graph: Graph, join: Join) -> list[Value]:
    """Return what the branch was before elementwise operations, up to the last weighted one."""
    steps: list[Value] = []
    value = join.branch
    while value.operation not in WEIGHTED:
        same = [source for source in value.inputs if source.shape == value.shape and source is not join.start]
        if len(same) != 1 or len(graph.consumers[same[0].index]) != 1:
            break
        value = same[0]
        steps.append(value)
    return steps


def _candidates(graph: Graph, value: Value, *, entries: bool = False) -> list[Seam]:
    """Return the seams of a value, the best first; with ``entries`` also the one before its only consumer."""
    seams: list[Seam] = [(name, "after") for name in value.made_by]
    seams += [(name, "before") for name in value.passed_by]
    if entries and len(graph.consumers.get(value.index, ())) == 1:
        seams += [(name, "before") for name in reversed(value.taken_by)]
    return [seam for seam in seams if seam[0]]
