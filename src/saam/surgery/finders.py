"""Finding the sites of each kind in the graph of a network."""

from collections.abc import Callable, Iterable

from torch import nn

from saam.surgery.adapters import adapter
from saam.surgery.graph import Graph, Value
from saam.surgery.joins import Join, dense_joins, residual_joins
from saam.surgery.seams import Seam, join_seams, value_seam
from saam.surgery.site import Kind, Site
from saam.surgery.trunk import head_pool, stage_ends

__all__ = ["KINDS", "find", "module_sites"]


def find(model: nn.Module, graph: Graph, kind: str) -> list[Site]:
    """Return the sites of one of the ``KINDS``, in the order in which they run."""
    return _FINDERS[kind](model, graph)


def module_sites(graph: Graph, names: Iterable[str]) -> list[Site]:
    """Return the sites after modules of these names.

    Raises:
        ValueError: one of them does not give a feature map.
    """
    values = _values_by_module(graph)
    for name in names:
        if name not in values or not graph.is_map(values[name]):
            if name in values:
                what = f"its output has the shape {values[name].shape}"
            else:
                what = "it gives no tensor of its own" if graph.calls[name] else "it never runs as a module"
            raise ValueError(
                f"cannot tell the channels at {name!r}: expected a module that gives a feature map (B, C, H, W), but "
                f"{what}; choose a module inside or around it"
            )
    return _sites("module", [((name, "after"), values[name]) for name in names])


def _residual(model: nn.Module, graph: Graph) -> list[Site]:
    return _sites("residual", join_seams(graph, _joins(graph)))


def _stage(model: nn.Module, graph: Graph) -> list[Site]:
    ends = stage_ends(graph, [join.result for join in _joins(graph)])
    return _sites("stage", [(seam, value) for value in ends if (seam := value_seam(graph, value))])


def _conv(model: nn.Module, graph: Graph) -> list[Site]:
    found = []
    for value in graph.values:
        if value.operation == "convolution" and graph.is_map(value):
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
    if pooling is None or not pooling[1].made_by or not pooling[1].made_by[0]:
        return []
    return _sites("head", [((pooling[1].made_by[0], "before"), pooling[0])])


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
"""The kinds of site that a network can have by itself."""
