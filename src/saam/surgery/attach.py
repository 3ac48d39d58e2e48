"""Attach attention to a network."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

import torch
from torch import nn

from saam.nn import attention_record, create_attention, parse_attention
from saam.surgery.adapters import adapter
from saam.surgery.identity import start_as_identity
from saam.surgery.modules import exchanged, refuse_shared, undone, visible_modules
from saam.surgery.probe import at_rest, call
from saam.surgery.report import Change, SurgeryReport, measured
from saam.surgery.site import Site
from saam.surgery.sites import Where, probed, sites
from saam.surgery.surgical import Attended, original

__all__ = ["Attention", "Start", "attach"]

Attention = str | Callable[..., nn.Module]
"""A registered name, optionally with options as in ``"saam,heads=4"``, or a function of the channels."""

Start = Literal["identity", "default"]

_FUSE = ("fuse", "reparameterize", "switch_to_deploy")
"""Names of methods that fuse a block for inference, in timm and in the code of authors."""


def attach(
    model: nn.Module,
    attention: Attention,
    *,
    where: Where = "residual",
    start: Start = "identity",
    example: Any = None,
    **options: Any,
) -> SurgeryReport:
    """Attach attention to a network, in place.

    The existing keys of the state dict do not change, so weights that were saved before still load. If an error occurs,
    no site is changed. Repeating the same call changes nothing. To add the new parameters to an existing optimizer,
    call ``optimizer.add_param_group({"params": list(saam.new_parameters(model).values())})``.

    Args:
        model: Any network on images.
        attention: A registered name, see :func:`saam.list_attentions`, optionally followed by options as in
            ``"eca,squeeze=score"``, or any function of the channels that returns a module (B, C, H, W) -> (B, C, H, W).
        where: A kind of site, one or several patterns of module names, sites, or a predicate, see :func:`saam.sites`.
            If a block already has attention, such as SE, it is kept and the new attention comes after it;
            :func:`saam.upgrade` gives it a learned squeeze instead.
        start: "identity" does not change the output of the network, bit for bit as long as its activations are finite.
            "default" starts the attention as its paper does, for training from scratch; :func:`saam.create_model` uses
            it unless the weights are pretrained.
        example: Input of the network. If given, the report shows the change of the outputs and the cost of the
            attention in multiply-accumulates. Attention that is built for one map size needs an example of the training
            size.
        options: Options of the attention, such as ``heads=4``. A function with an argument ``stage`` or ``size``
            receives the number of the stage, from 1, and the size (H, W) of the map, unless they are given here.

    Returns:
        A report of the changed sites.

    Raises:
        TypeError: If surgery does not support the network, the attention is neither a name nor a function, or it has no
            such option.
        ValueError: If there is no site, the attention is unknown, an option is given twice, a site already has another
            attention, or the network is run to find sites or with the example and does not run the attention there.

    Example:
        >>> from saam.models import create_model
        >>> print(attach(create_model("resnet8"), "saam"))
        site          channels  change            parameters
        layer1.0.bn2  16        + saam            +65
        layer2.0.bn2  32        + saam            +194
        layer3.0.bn2  64        + saam            +644
        total                   3 residual sites  +903
    """
    if not isinstance(attention, str) and not callable(attention):
        raise TypeError(f"attention must be a registered name or a function of the channels, got {attention!r}")
    if start not in get_args(Start):
        raise ValueError(f"start must be 'identity' or 'default', got {start!r}")
    if isinstance(attention, str):
        attention, options = parse_attention(attention, options)
    wanted = _wanted(attention, options)
    chosen, image = _chosen(model, where, example)
    refuse_shared(options, len(chosen))
    modules = visible_modules(model)
    request = {"attention": attention, "start": start, "options": options}
    wrapped: dict[nn.Module, Attended] = {}
    changes, left = [], []
    for site in chosen:
        module = modules.get(site.name)
        if module is None:
            raise ValueError(
                f"{site.name!r} is inside attention that upgrade changed: attach first and upgrade then, or choose "
                "other sites"
            )
        if isinstance(module, Attended):
            if module.request != request:
                raise ValueError(
                    f"{site.name!r} has attention already ({module.label}): "
                    "call detach(model) first, or choose other sites"
                )
            left.append((site.name, f"{module.label} is there already"))
            continue
        if module in wrapped:
            continue  # it was chosen twice
        built = _build(attention, site, start, {**wanted(site), **options})
        built = built.to(*_place(module, model))
        attended = wrapped[module] = _wrap(module, built, site, request)
        count = sum(parameter.numel() for parameter in built.parameters())
        changes.append(Change(site.name, site.channels, f"+ {attended.label}", count, site.size, kind=site.kind))
    if wrapped and image is not None:
        _require_run(model, wrapped, image)
    notes = _notes(model) + _fusing(modules, [change.site for change in changes])
    return measured(model, changes, wrapped, example, left=tuple(left), notes=notes)


def _notes(model: nn.Module) -> tuple[str, ...]:
    """Return notes on the attention that a network has without surgery."""
    own: list[tuple[str, str]] = []
    for module in visible_modules(model).values():
        while isinstance(module, Attended):
            module = module.original
        if known := adapter(module):
            own.append((type(original(module)).__name__, known.statistic))
    if not own:
        return ()
    names = ", ".join(f"{count} {name}" for name, count in Counter(name for name, _ in own).items())
    note = f"the network already has attention ({names}): it stays, and new attention in the same block comes after it"
    if any(statistic.startswith("mean") for _, statistic in own):
        note += "; saam.upgrade(model) gives it a learned squeeze"
    return (note,)


def _fusing(modules: Mapping[str, nn.Module], sites: Iterable[str]) -> tuple[str, ...]:
    """Return a note on the blocks around sites that can merge their norms into their convolutions.

    They read the weights of a norm and drop it, together with its attention.
    """
    parts = [site.split(".") for site in sites]
    around = {".".join(part[:end]) for part in parts for end in range(len(part))}
    kinds = {type(original(modules[name])) for name in around}
    calls = sorted(f"{kind.__name__}.{name}()" for kind in kinds for name in _FUSE if hasattr(kind, name))
    if not calls:
        return ()
    return (f"{', '.join(calls)} may remove this attention: detach first, or fuse before you attach",)


def _require_run(model: nn.Module, wrapped: Mapping[nn.Module, Attended], image: Any) -> None:
    """Raise an error unless the network runs what is at each site. Nothing stands in for the attention."""
    met: set[str] = set()
    stand_ins: dict[nn.Module, nn.Module] = {}
    for module, attended in wrapped.items():
        nothing, site = nn.Identity(), attended.site
        nothing.register_forward_pre_hook(lambda *_, name=site.name: met.add(name))
        stand_ins[original(module)] = Attended(original(module), nothing, site=site)
    with undone(model), exchanged(model, stand_ins), at_rest(model):
        call(model, image)
    for attended in wrapped.values():
        if attended.site.name not in met:
            raise ValueError(
                f"attention at {attended.site.name!r} does not run in evaluation mode: {type(model).__name__} does not "
                "call this module, or keeps it in a second place that surgery cannot change, such as a Python list; "
                "choose other sites"
            )


def _chosen(model: nn.Module, where: Where, example: Any) -> tuple[tuple[Site, ...], Any]:
    chosen, image = probed(model, where, example)
    if chosen:
        return chosen, image
    others: dict[str, list[str]] = {}
    for site in sites(model, example=example):
        if site.kind != "attention":
            others.setdefault(site.kind, []).append(site.name)
    kinds = " or ".join(f"where={kind!r} ({names[0]}{', ...' if names[1:] else ''})" for kind, names in others.items())
    if _has_tokens(model):
        hint = "it looks like a transformer, whose tokens have no map (B, C, H, W): channel attention has no site there"
        hint += f"; other parts of it have sites: {kinds}" if kinds else ""
    elif kinds:
        hint = f"it has sites of another kind: {kinds}"
    else:
        hint = "it has no feature map (B, C, H, W) between two modules; give where= a pattern of module names"
    raise ValueError(f"no {where!r} site in {type(model).__name__}: {hint}")


def _has_tokens(model: nn.Module) -> bool:
    """Return whether a network attends to tokens, judged by the names of its classes."""
    with undone(model):
        return any("attention" in type(module).__name__.lower() and not adapter(module) for module in model.modules())


def _wanted(attention: Attention, options: dict[str, Any]) -> Callable[[Site], dict[str, Any]]:
    """Return the options that an attention needs from its site."""
    if isinstance(attention, str):
        names: set[str] = set(attention_record(attention).needs)
    else:
        names = {"size", "stage"} & set(_parameters(attention))

    def wanted(site: Site) -> dict[str, Any]:
        told = {name: getattr(site, name) for name in sorted(names - options.keys())}
        for name, value in told.items():
            if value is None:
                raise ValueError(
                    f"{attention!r} depends on the {name} of the map at each site, which is unknown for "
                    f"{site.name!r}: pass example=, an input of the size that the network is trained on"
                )
        return told

    return wanted


def _parameters(attention: Callable[..., nn.Module]) -> list[str]:
    try:
        return list(inspect.signature(attention).parameters)
    except ValueError:  # builtins have no signature
        return []


def _build(attention: Attention, site: Site, start: Start, options: dict[str, Any]) -> nn.Module:
    if isinstance(attention, str):
        built = create_attention(attention, site.channels, **options)
    else:
        built = attention(site.channels, **options)
        _check(built, site)
    return start_as_identity(built, site.channels) if start == "identity" else built


def _check(built: Any, site: Site) -> None:
    """Raise an error unless a user's function built a module that keeps the shape (B, C, H, W)."""
    if not isinstance(built, nn.Module):
        raise TypeError(f"attention must give a torch.nn.Module for {site.channels} channels, got {built!r}")
    like = next(built.parameters(), torch.empty(0))
    x = torch.zeros(2, site.channels, *(site.size or (8, 8)), device=like.device, dtype=like.dtype)
    with at_rest(built):
        shape = getattr(built(x), "shape", None)
    if shape != x.shape:
        raise ValueError(
            f"attention must keep the shape of its map: {type(built).__name__} turned {tuple(x.shape)} into "
            f"{tuple(shape) if shape is not None else 'no tensor'}"
        )


def _place(module: nn.Module, model: nn.Module) -> tuple[torch.device | None, torch.dtype | None]:
    """Return the device and dtype of a site."""
    for source in (module, model):
        for parameter in source.parameters():
            if parameter.is_floating_point():
                return parameter.device, parameter.dtype
    return None, None


def _wrap(module: nn.Module, attention: nn.Module, site: Site, request: dict[str, Any]) -> Attended:
    try:
        return Attended(module, attention, site=site, request=request)
    except ValueError as error:
        raise ValueError(f"cannot attach at {site.name!r}: {error}") from error
