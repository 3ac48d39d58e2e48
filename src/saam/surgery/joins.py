"""Find the joins of branches, and the seam of a value: the module that it follows or precedes.

Branches join in the additions of residual blocks and in the concatenations of dense blocks.

A branch joins its own input if both operands come from one value, and the path from this value through the shortcut has
at most two weighted operations (a projection, perhaps with a depthwise one before it) and at most half of those of the
branch. Branches of similar weight, as in RepVGG before its identity, are parallel. Branches that enlarge their map, as
in feature pyramids, join another scale.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from saam.surgery.graph import WEIGHTED, Graph, Value
from saam.surgery.site import Position

__all__ = ["Join", "Seam", "dense_joins", "join_seams", "residual_joins", "value_seam"]

Seam = tuple[str, Position]


@dataclass(frozen=True, eq=False)
class Join:
    """An operation where a branch meets its own input."""

    start: Value
    """The common source of both."""
    branch: Value
    """The output of the branch."""
    result: Value


def residual_joins(graph: Graph) -> list[Join]:
    """Return the additions that end a residual branch, except those inside another branch."""
    joins = [join for value in graph.values if (join := _addition(graph, value))]
    return [join for join in joins if not any(_inside(join, other) for other in joins)]


def dense_joins(graph: Graph) -> list[Join]:
    """Return the concatenations of a branch with its own input, once per branch."""
    joins: dict[int, Join] = {}
    for result in graph.values:
        if result.operation == "cat" and graph.is_map(result):
            for branch in result.inputs:
                shortcuts = (value for value in result.inputs if value is not branch)
                start = next((start for value in shortcuts if (start := _carried(graph, value, branch))), None)
                if start:
                    joins.setdefault(branch.index, Join(start, branch, result))
    return list(joins.values())


def value_seam(graph: Graph, value: Value) -> Seam | None:
    """Return the innermost seam of a value that belongs to no other value, or None."""
    return next((seam for seam in _candidates(graph, value) if graph.calls[seam[0]] == 1), None)


def join_seams(graph: Graph, joins: Sequence[Join]) -> list[tuple[Seam, Value]]:
    """Return the seam at the end of the branch of each join, with the value there. Shared modules occur once.

    If no module ends the branch, the seam is one step earlier, before a layer scale or activation. Otherwise it is
    directly after the join.
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


def _carried(graph: Graph, shortcut: Value, branch: Value) -> Value | None:
    """Return the common source of a branch and the value beside it, if that value is a part of it without weights."""
    start = _common(graph, shortcut, branch)
    if start is None or start.shape[2:] != branch.shape[2:] or _weights(graph, start, shortcut):
        return None
    return start if _weights(graph, start, branch) and not _enlarged(graph, start, branch) else None


def _addition(graph: Graph, value: Value) -> Join | None:
    if value.operation != "add" or len(value.inputs) != 2 or not graph.is_map(value):
        return None
    left, right = value.inputs
    start = _common(graph, left, right)
    if start is None or left.shape != right.shape:
        return None
    shortcut, branch = sorted((left, right), key=lambda operand: _weights(graph, start, operand))
    projection, weights = _weights(graph, start, shortcut), _weights(graph, start, branch)
    if not weights or projection > 2 or 2 * projection > weights or _enlarged(graph, start, branch):
        return None
    return Join(start, branch, value)


def _common(graph: Graph, left: Value, right: Value) -> Value | None:
    common = left.ancestors & right.ancestors
    return graph.values[common.bit_length() - 1] if common else None


def _weights(graph: Graph, start: Value, end: Value) -> int:
    return (graph.between(start, end) & graph.weighted).bit_count()


def _enlarged(graph: Graph, start: Value, end: Value) -> bool:
    """Return whether every path from ``start`` to ``end`` contains an upsampling."""
    paths = graph.between(start, end)
    if not paths & graph.enlarged:
        return False
    reached = 1 << start.index
    for value in graph.values[start.index + 1 : end.index + 1]:
        on_the_way = paths >> value.index & 1 and not graph.enlarged >> value.index & 1
        if on_the_way and any(reached >> source.index & 1 for source in value.inputs):
            reached |= 1 << value.index
    return not reached >> end.index & 1


def _inside(join: Join, other: Join) -> bool:
    """Return whether a join lies inside another branch in the same forward, as the sums within a Res2Net block do."""
    return (
        join is not other
        and join.result.frame == other.result.frame
        and other.branch.descends(join.result)
        and join.start.descends(other.start)
    )


def _branch_options(graph: Graph, join: Join) -> list[tuple[Seam, Value]]:
    values = [join.branch, *_steps_back(graph, join)]
    return [(seam, value) for value in values for seam in _candidates(graph, value)] + [
        (seam, join.result) for seam in _candidates(graph, join.result, entries=True)
    ]


def _steps_back(graph: Graph, join: Join) -> list[Value]:
    """Return the values of the branch before its final elementwise operations and slices, back to a weighted one."""
    steps: list[Value] = []
    value = join.branch
    while value.operation not in WEIGHTED:
        sources = [source for source in value.inputs if source is not join.start and _alike(source, value)]
        users = graph.consumers[sources[0].index] if len(sources) == 1 else []
        if len(users) != 1 and not (users and all(map(_slices, users))):
            break
        value = sources[0]
        steps.append(value)
    return steps


def _alike(source: Value, value: Value) -> bool:
    """Return whether a value has the shape of its source, or is a subset of its channels."""
    return source.shape == value.shape or (_slices(value) and source.shape[2:] == value.shape[2:])


def _slices(value: Value) -> bool:
    return value.operation == "slice"


def _candidates(graph: Graph, value: Value, *, entries: bool = False) -> list[Seam]:
    """Return the seams of a value, best first; with ``entries`` also the one before its only consumer."""
    seams: list[Seam] = [(name, "after") for name in value.made_by]
    seams += [(name, "before") for name in value.passed_by]
    if entries and len(graph.consumers.get(value.index, ())) == 1:
        seams += [(name, "before") for name in reversed(value.taken_by)]
    return [seam for seam in seams if seam[0]]
