"""Find the sites of each kind in the graph of a network."""

import math
from collections.abc import Callable, Iterable
from itertools import groupby

from torch import nn

from saam.surgery.adapters import adapter
from saam.surgery.graph import Graph, Value
from saam.surgery.joins import Join, Seam, dense_joins, join_seams, residual_joins, value_seam
from saam.surgery.site import Kind, Site

__all__ = ["KINDS", "find", "head_pool", "module_sites"]

_SMOOTH = {"hardswish", "elu", "gelu", "silu", "mish"}  # none of these ends a classifier; a ReLU can, as in SqueezeNet
_ACTIVATIONS = {"relu", "hardtanh", "leaky_relu", "prelu", *_SMOOTH}
_POOLINGS = {"mean", "adaptive_avg_pool2d", "avg_pool2d", "amax", "adaptive_max_pool2d"}


def find(model: nn.Module, graph: Graph, kind: str) -> list[Site]:
    """Return the sites of one of the ``KINDS``, in execution order."""
    return _FINDERS[kind](model, graph)


def module_sites(graph: Graph, names: Iterable[str]) -> list[Site]:
    """Return the sites after the modules with these names.

    Raises:
        ValueError: If one of them does not give a feature map.
    """
    values = _values_by_module(graph)
    for name in names:
        if name not in values or not graph.is_map(values[name]):
            if name in values:
                what = f"its output has the shape {values[name].shape}"
            else:
                what = "it gives no new tensor" if graph.calls[name] else "it never runs as a module"
            raise ValueError(
                f"cannot tell the channels at {name!r}: expected a module that gives a feature map (B, C, H, W), but "
                f"{what}; choose a module inside or around it"
            )
    return _sites("module", [((name, "after"), values[name]) for name in names])


def head_pool(graph: Graph) -> tuple[Value, Value] | None:
    """Return the last feature map that is pooled to one pixel before the output, and the result of the pooling."""
    if not graph.outputs:
        return None
    logits = _logits(graph)
    for pooled in reversed(_cuts(graph, graph.outputs[0])):
        single = len(pooled.shape) == 2 or (len(pooled.shape) == 4 and pooled.shape[2:] == (1, 1))
        if single and pooled.operation in _POOLINGS and graph.is_map(pooled.inputs[0]):
            before = pooled.inputs[0]
            return None if logits >> before.index & 1 else (before, pooled)
    return None


def _residual(model: nn.Module, graph: Graph) -> list[Site]:
    return _sites("residual", join_seams(graph, _joins(graph)))


def _stage(model: nn.Module, graph: Graph) -> list[Site]:
    ends = _stage_ends(graph, [join.result for join in _joins(graph)])
    return _sites("stage", [(seam, value) for value in ends if (seam := value_seam(graph, value))])


def _conv(model: nn.Module, graph: Graph) -> list[Site]:
    found = []
    logits = _logits(graph)
    attention = tuple(f"{name}." for name, module in model.named_modules() if adapter(module))
    for value in _convolutions(graph):
        inside = any(name.startswith(attention) for name in value.made_by)
        if not inside and not logits >> value.index & 1:
            users = graph.consumers.get(value.index, [])
            norm = users[0] if users and all("norm" in user.operation for user in users) else value
            seam = value_seam(graph, norm) or value_seam(graph, value)
            if seam:
                found.append((seam, norm))
    return _sites("conv", found)


def _attention(model: nn.Module, graph: Graph) -> list[Site]:
    values = _values_by_module(graph)
    found: list[tuple[Seam, Value]] = []
    for name, module in model.named_modules():
        if adapter(module) and name in values:
            found.append(((name, "after"), values[name]))
    return _sites("attention", found)


def _head(model: nn.Module, graph: Graph) -> list[Site]:
    pooling = head_pool(graph)
    if pooling is None:
        return []
    before, pooled = pooling
    name = next(iter(pooled.made_by), "")
    seam: Seam | None = (name, "before") if name and name in before.taken_by else value_seam(graph, before)
    return _sites("head", [(seam, before)] if seam else [])


def _stage_ends(graph: Graph, blocks: list[Value]) -> list[Value]:
    """Return the last map of each resolution on the path to the deepest one, in the outermost module.

    Args:
        graph: Graph of the network.
        blocks: Outputs of its blocks. A resolution without a block, such as that of a stem, is not a stage. In a
            network without blocks, a stage has at least two convolutions.
    """
    deepest = _deepest(graph)
    if deepest is None:
        return []
    ends = []
    for size, group in groupby(_trunk(graph, deepest), key=lambda value: value.shape[2:]):
        inside = [value for value in (blocks or _convolutions(graph)) if value.shape[2:] == size]
        if len(inside) >= (1 if blocks else 2):
            members = [value for value in group if value.index >= inside[0].index]
            if members:
                ends.append(min(reversed(members), key=_depth))
    return ends


def _depth(value: Value) -> float:
    """Return the depth in the module tree of the outermost module that returns a value."""
    names = [name for name in value.made_by or value.passed_by if name]
    return names[-1].count(".") if names else math.inf


def _logits(graph: Graph) -> int:
    """Return the set of values computed by the head of a classifier or of a segmentation network, as bits.

    They begin with the output of a convolution that no weights, norm, gate, smooth activation or end of a residual
    branch follow. However, a network that returns the activations of a map returns features.
    """
    features = graph.weighted | graph.which(_SMOOTH) | sum(1 << join.result.index for join in residual_joins(graph))
    for value in graph.values:
        gated = value.operation == "mul" and len(value.inputs) == 2
        features |= (gated or "norm" in value.operation) << value.index
    activated = graph.which(_ACTIVATIONS)
    maps = [output for output in graph.outputs if graph.is_map(output)]
    logits = 0
    for value in _convolutions(graph):
        itself = 1 << value.index
        if not value.ancestors & graph.weighted & ~itself:
            continue  # it computes features from the image
        following = graph.descendants[value.index] & ~itself
        returned = following & activated and any(output.descends(value) for output in maps)
        if not following & features and not returned:
            logits |= graph.descendants[value.index]
    return logits


def _deepest(graph: Graph) -> Value | None:
    """Return the last map of the lowest resolution that does not depend on an enlarged map, excluding logits."""
    logits = _logits(graph)
    maps = [
        value
        for value in graph.values
        if graph.is_map(value) and not value.ancestors & graph.enlarged and not logits >> value.index & 1
    ]
    lowest = min((value.shape[2] * value.shape[3] for value in maps), default=0)
    return next((value for value in reversed(maps) if value.shape[2] * value.shape[3] == lowest), None)


def _trunk(graph: Graph, end: Value) -> list[Value]:
    passing = {"input", "constant_pad_nd"}
    return [value for value in _cuts(graph, end) if graph.is_map(value) and value.operation not in passing]


def _cuts(graph: Graph, end: Value) -> list[Value]:
    """Return the values that lie on every path from the input to ``end``."""
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


def _joins(graph: Graph) -> list[Join]:
    return residual_joins(graph) or dense_joins(graph)


def _values_by_module(graph: Graph) -> dict[str, Value]:
    return {name: value for value in graph.values for name in (*value.made_by, *value.passed_by)}


def _sites(kind: Kind, found: Iterable[tuple[Seam, Value]]) -> list[Site]:
    found = list(found)
    sizes = sorted({value.shape[2:] for _, value in found}, reverse=True)
    return [
        Site(
            name,
            value.shape[1],
            kind,
            position,
            sizes.index(value.shape[2:]) + 1,
            (value.shape[2], value.shape[3]),
        )
        for (name, position), value in found
    ]


_FINDERS: dict[str, Callable[[nn.Module, Graph], list[Site]]] = {
    "residual": _residual,
    "stage": _stage,
    "conv": _conv,
    "attention": _attention,
    "head": _head,
}

KINDS = tuple(_FINDERS)
"""The kinds of site that a network can have without surgery."""
