"""Find the sites of a network: the places where attention can go."""

import fnmatch
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from saam._core.errors import hinted, unknown
from saam.surgery.finders import KINDS, find, module_sites
from saam.surgery.graph import record
from saam.surgery.modules import refuse, undone
from saam.surgery.probe import run
from saam.surgery.site import Site

__all__ = ["Where", "probed", "sites"]

Where = str | Sequence[str] | Sequence[Site] | Callable[[str, nn.Module], bool]
"""A kind of site, one or several patterns of module names, sites, or a predicate of a module's name and the module."""


def sites(model: nn.Module, where: Where | None = None, *, example: Any = None) -> tuple[Site, ...]:
    """Find the places of a network where attention can go.

    The kinds are

    - "residual": the last operation of a residual branch, before its addition, or directly after the addition if no
      module ends the branch. In a network without additions, the end of a branch that is concatenated with its own
      input, as in DenseNet. Layer scale, activations without a module, dropout and stochastic depth come after the
      attention.
    - "stage": the last map of a resolution.
    - "conv": each convolution, after its norm.
    - "attention": existing attention.
    - "head": the global pooling before the classifier.

    The logits of a classifier or of a segmentation head are not a site of any kind. Sites are found in the graph of one
    forward pass on a small random image, or on ``example``.

    Args:
        model: Any network on images. It is not changed.
        where: A kind, one or several patterns of module names such as ``"layer3.*.bn2"``, sites, or a predicate
            ``(name, module) -> bool``. None finds all kinds. As in file names, ``*`` matches any text, including dots:
            ``"layer3.*"`` matches the blocks of layer3 and every module inside them, ``"layer3.?"`` only the blocks.
        example: Input to run the network on: a tensor, a tuple of arguments or a dict of keyword arguments. If given,
            the sites have the size of their map.

    Returns:
        The sites in execution order. Empty if the network has none of this kind.

    Raises:
        TypeError: If surgery does not support the network, or the predicate takes other arguments.
        ValueError: If the network does not run on the example, a pattern matches nothing, or a matching module does not
            give a feature map (B, C, H, W).

    Example:
        >>> from saam.models import create_model
        >>> print(*sites(create_model("resnet8"), "residual"), sep="\\n")
        residual  after  layer1.0.bn2: 16 channels
        residual  after  layer2.0.bn2: 32 channels
        residual  after  layer3.0.bn2: 64 channels
    """
    return probed(model, where, example)[0]


def probed(model: nn.Module, where: Where | None, example: Any) -> tuple[tuple[Site, ...], Any]:
    """Return the sites, and an input that the network runs on: the example, or the image that was generated, if any."""
    refuse(model)
    with undone(model):
        if where is not None and where not in KINDS:
            return _matching(model, where, example)
        graph = run(model, example, partial(record, model))
        kinds = KINDS if where is None else (where,)
        return _sized((site for kind in kinds for site in find(model, graph, kind)), example), graph.example


def _matching(model: nn.Module, where: Where, example: Any) -> tuple[tuple[Site, ...], Any]:
    modules = {name: module for name, module in model.named_modules() if name}
    if not isinstance(where, str) and not callable(where) and any(isinstance(entry, Site) for entry in where):
        return tuple(_given(modules, where)), example
    names = _matches(modules, where)
    declared = {name: _declared_channels(modules[name]) for name in names}
    if example is None and all(declared.values()):
        return tuple(Site(name, channels) for name, channels in declared.items() if channels), None
    graph = run(model, example, partial(record, model))
    return _sized(module_sites(graph, names), example), graph.example


def _sized(found: Iterable[Site], example: Any) -> tuple[Site, ...]:
    """Return sites with the sizes of their maps if the caller gave the example."""
    return tuple(site if example is not None else replace(site, size=None) for site in found)


def _given(modules: dict[str, nn.Module], where: Iterable[Any]) -> Iterable[Site]:
    for site in where:
        if not isinstance(site, Site):
            raise TypeError(
                f"expected only sites, as returned by saam.sites, or only patterns, got {site!r} among sites"
            )
        if site.name not in modules:
            raise unknown("module", site.name, modules)
        yield site


def _matches(modules: dict[str, nn.Module], where: Where) -> list[str]:
    if callable(where):
        try:
            inspect.signature(where).bind("name", nn.Identity())
        except TypeError as error:
            raise TypeError(
                f"expected where to be a predicate (name, module) -> bool, got {where!r}: {error}"
            ) from error
        names = [name for name, module in modules.items() if where(name, module)]
        if not names:
            raise ValueError("the predicate given as where matches no module of the network")
        return names
    patterns = [where] if isinstance(where, str) else [str(pattern) for pattern in where]
    if not patterns:
        raise ValueError("expected where to be a kind of site, a pattern or a predicate, got an empty list")
    for pattern in patterns:
        if not fnmatch.filter(modules, pattern):
            takes = f"where takes {', '.join(KINDS)}, or a pattern of module names"
            raise ValueError(
                hinted(f"no module of the network matches {pattern!r}", pattern, [*KINDS, *modules], takes)
            )
    return [name for name in modules if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def _declared_channels(module: nn.Module) -> int | None:
    """Return the channels of a module that always gives a feature map."""
    if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm | nn.InstanceNorm2d):
        return module.num_features
    return module.out_channels if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) else None
