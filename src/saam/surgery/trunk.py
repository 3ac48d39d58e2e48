"""The trunk of a network: the values that everything after them comes from, its stages, and the pooling at its end."""

import math
from collections.abc import Iterable
from itertools import groupby

from saam.surgery.graph import Graph, Value

__all__ = ["head_pool", "stage_ends"]

_POOLINGS = {"mean", "adaptive_avg_pool2d", "avg_pool2d", "amax", "adaptive_max_pool2d"}


def stage_ends(graph: Graph, blocks: Iterable[Value] = ()) -> list[Value]:
    """Return the last map of each resolution on the way to the deepest one, that of the outermost module.

    Args:
        graph: of the network.
        blocks: what its blocks give; a resolution without one, such as a stem's, is no stage. A network without blocks
            has a stage wherever there are two convolutions or more.
    """
    deepest = _deepest(graph)
    if deepest is None:
        return []
    blocks = list(blocks)
    ends = []
    for size, group in groupby(_trunk(graph, deepest), key=lambda value: value.shape[2:]):
        inside = [value for value in (blocks or _convolutions(graph)) if value.shape[2:] == size]
        if len(inside) >= (1 if blocks else 2):
            members = [value for value in group if value.index >= inside[0].index]
            if members:
                ends.append(min(reversed(members), key=_depth))
    return ends


def _depth(value: Value) -> float:
    """Return how deep in the network's tree the outermost module is that gives a value."""
    names = [name for name in value.made_by or value.passed_by if name]
    return names[-1].count(".") if names else math.inf


def head_pool(graph: Graph) -> tuple[Value, Value] | None:
    """Return the last map that is pooled to one pixel on the way to the output, and what it is pooled to."""
    if not graph.outputs:
        return None
    for pooled in reversed(_cuts(graph, graph.outputs[0])):
        single = len(pooled.shape) == 2 or (len(pooled.shape) == 4 and pooled.shape[2:] == (1, 1))
        if single and pooled.operation in _POOLINGS and graph.is_map(pooled.inputs[0]):
            return pooled.inputs[0], pooled
    return None


def _deepest(graph: Graph) -> Value | None:
    """Return the last map of the lowest resolution that nothing enlarged went into."""
    maps = [value for value in graph.values if graph.is_map(value) and not value.ancestors & graph.enlarged]
    lowest = min((value.shape[2] * value.shape[3] for value in maps), default=0)
    return next((value for value in reversed(maps) if value.shape[2] * value.shape[3] == lowest), None)


def _trunk(graph: Graph, end: Value) -> list[Value]:
    passing = {"input", "constant_pad_nd"}
    return [value for value in _cuts(graph, end) if graph.is_map(value) and value.operation not in passing]


def _cuts(graph: Graph, end: Value) -> list[Value]:
    """Return the values that every way from the input to ``end`` goes through."""
    cuts, reach = [], 0
    for value in graph.values[: end.index + 1]:
        if not end.descends(value):
            continue
        if reach <= value.index:
            cuts.append(value)
        uses = [user.index for user in graph.consumers.get(value.index, ()) if end.descends(user)]
        reach = max([reach, *uses])
    return cuts


def _convolutions(graph: Graph) -> list[Value]:
    return [value for value in graph.values if value.operation == "convolution" and graph.is_map(value)]
