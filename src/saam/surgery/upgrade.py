"""Give the existing attention of a network a learned squeeze."""

import fnmatch
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from saam._core.errors import unknown
from saam._core.options import require_options
from saam.nn import ScorePool2d, create_squeeze
from saam.nn.squeeze import Squeeze, statistics_of
from saam.surgery.adapters import Adapter, Upgraded, UpgradedPool, adapter
from saam.surgery.finders import head_pool
from saam.surgery.graph import record
from saam.surgery.modules import refuse, refuse_shared, undone, visible_modules
from saam.surgery.probe import at_rest, call, run
from saam.surgery.report import Change, SurgeryReport, measured
from saam.surgery.surgical import Attended

__all__ = ["upgrade"]


def upgrade(
    model: nn.Module,
    *,
    squeeze: Squeeze = "score",
    head: bool = False,
    where: str | Collection[str] | None = None,
    example: Any = None,
    **options: Any,
) -> SurgeryReport:
    """Replace the mean in existing attention by another squeeze, in place. All weights stay in use.

    Supported are SEModule, EffectiveSE, Eca, Ceca, the channel part of Cbam, GlobalContext and the SqueezeExcite of
    EfficientNet, MobileNet and similar networks in timm, SqueezeExcitation in torchvision, and every
    :class:`saam.nn.ChannelAttention`, also inside CBAM; BAM is not. A maximum beside the mean stays. The score squeeze
    starts as the mean, so the output of the network does not change, up to rounding; your own scorer starts as you
    build it. Existing score squeezes keep their scores. Existing keys do not change, and those of the scorers are
    added. Forward hooks of an upgraded module are not called until :func:`saam.detach` restores it. If an error occurs,
    nothing is changed. Repeating the call changes nothing.

    Args:
        model: Any network on images.
        squeeze: A name or function, see :func:`saam.nn.create_squeeze`, that gives one statistic.
        head: Whether to also replace the global average pooling before the classifier.
        where: One or several patterns of the names of attention modules, in which ``*`` matches any text, including
            dots. None selects all; an empty list selects none, so that only the head is changed.
        example: Input of the network. If given, the report shows the change of the outputs.
        options: Options of the score squeeze, such as ``heads=4``.

    Returns:
        A report of what was changed, and why the rest was not.

    Raises:
        TypeError: If surgery does not support the network, or the score squeeze has no such option.
        ValueError: If there is nothing to upgrade, a module has been upgraded in another way, options belong to another
            squeeze than "score", or the head has no pooling module.
    """
    refuse(model)
    if not isinstance(head, bool):
        raise TypeError(f"head must be True or False, got {head!r}; squeeze= selects how the head pools")
    if options and squeeze != "score":
        raise ValueError(f"{', '.join(options)} belong to squeeze='score'; leave them out with squeeze={squeeze!r}")
    require_options("the score squeeze", ScorePool2d, options)
    request = {"squeeze": squeeze, "options": options}
    found = _found(model)
    if not found and not head:
        raise ValueError(
            f"no attention to upgrade in {type(model).__name__}: add attention with attach(model, 'saam'), or replace "
            "the pooling before the classifier with head=True"
        )
    found = _matching(found, where)
    reasons = {name: reason for name, module in found.items() if (reason := _reason(name, module, request))}
    refuse_shared({"squeeze": squeeze, **options}, len(found) - len(reasons) + head)
    channels = _channels(model, [module for name, module in found.items() if name not in reasons], example)
    labels = {module.built: module.label for module in model.modules() if isinstance(module, Attended)}
    changes: list[Change] = []
    replacements: dict[nn.Module, nn.Module] = {}
    for name, module in found.items():
        if name in reasons:
            continue
        if module not in channels:
            reasons[name] = "it does not run, so its channels are unknown"
            continue
        pool = _pool(module, request, channels[module])
        replacements[module] = Upgraded(module, pool, request)
        label = labels.get(module, type(module).__name__)
        changes.append(_change(name, channels[module], module, pool, label))
    if head:
        head_changes, head_reasons = _upgrade_head(model, request, replacements, example)
        changes, reasons = changes + head_changes, reasons | head_reasons
    return measured(model, changes, replacements, example, left=tuple(reasons.items()))


def _found(model: nn.Module) -> dict[str, nn.Module]:
    """Return the attention modules by name, including upgraded ones but not their inner modules."""
    found: dict[str, nn.Module] = {}

    def look(module: nn.Module, name: str) -> None:
        if name and adapter(module):
            found[name] = module
            return
        for key, child in module.named_children():
            look(child, f"{name}.{key}")

    for name, module in visible_modules(model).items():
        if isinstance(module, Attended):
            look(module.attention, f"{name}.attention")
            module = module.original
        if name and adapter(module):
            found[name] = module
    return found


def _matching(found: dict[str, nn.Module], where: str | Collection[str] | None) -> dict[str, nn.Module]:
    patterns = ["*"] if where is None else [where] if isinstance(where, str) else where
    for pattern in patterns:
        if where is not None and not fnmatch.filter(found, pattern):
            raise unknown("attention module", pattern, found)
    return {name: found[name] for name in found if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}


def _known(module: nn.Module) -> Adapter:
    known = adapter(module)
    assert known is not None
    return known


def _reason(name: str, module: Any, request: dict[str, Any]) -> str | None:
    """Return why a module is not upgraded, or None.

    Raises:
        ValueError: If the module has been upgraded in another way.
    """
    if isinstance(module, Upgraded | UpgradedPool):
        if module.request != request:
            raise ValueError(
                f"{name!r} is already upgraded, with squeeze={module.request['squeeze']!r} and the options "
                f"{module.request['options']}: call detach(model) first, or choose others with where="
            )
        return "it is already upgraded"
    known = _known(module)
    if known.statistic == "other":
        return f"its squeeze, {type(module.squeeze).__name__}, is not a mean"
    if known.statistic == "score" and known.channels is None:
        return "it already has a score squeeze"
    return None


def _channels(model: nn.Module, modules: Iterable[nn.Module], example: Any) -> dict[nn.Module, int]:
    """Return the channels of attention modules; if a module does not expose them, run the network once."""
    shown = {module: _known(module).channels for module in modules}
    unknown = [module for module, channels in shown.items() if channels is None]
    channels = {module: channels for module, channels in shown.items() if channels is not None}
    if unknown:
        channels |= run(model, example, lambda candidate: _channels_met(model, unknown, candidate))
    return channels


def _channels_met(model: nn.Module, modules: Iterable[nn.Module], example: Any) -> dict[nn.Module, int]:
    met: dict[nn.Module, int] = {}

    def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        met[module] = args[0].shape[1]

    hooks = [module.register_forward_pre_hook(hook) for module in modules]
    try:
        with at_rest(model):
            call(model, example)
    finally:
        for handle in hooks:
            handle.remove()
    return met


def _pool(module: Any, request: dict[str, Any], channels: int) -> nn.Module:
    """Build the squeeze for a module on its device. An existing score squeeze keeps its weights."""
    if _known(module).statistic == "score":
        pool = ScorePool2d(channels, bias=True)
        pool.weight, pool.bias = module.conv_attn.weight, module.conv_attn.bias
        return pool
    return _squeeze(request, channels, module)


def _squeeze(request: dict[str, Any], channels: int, place: nn.Module) -> nn.Module:
    squeeze, options = request["squeeze"], request["options"]
    pool = ScorePool2d(channels, **options) if squeeze == "score" else create_squeeze(squeeze, channels)
    statistics = statistics_of(pool, channels)
    if statistics != 1:
        raise ValueError(f"squeeze={squeeze!r} gives {statistics} statistics per channel; choose one that gives one")
    like = next(place.parameters(), torch.empty(0))
    return pool.to(like.device, like.dtype).train(place.training)


def _upgrade_head(
    model: nn.Module, request: dict[str, Any], replacements: dict[nn.Module, nn.Module], example: Any
) -> tuple[list[Change], dict[str, str]]:
    """Add the pooling before the classifier to the replacements; return the change, or why it was not changed."""
    with undone(model):
        pooling = head_pool(run(model, example, partial(record, model)))
    if pooling is None:
        raise ValueError(
            f"no global pooling was found before the classifier of {type(model).__name__}: leave out the "
            "head, or put saam.ScorePool2d(channels) there yourself"
        )
    before, pooled = pooling
    name = next(iter(pooled.made_by), "")
    if pooled.operation != "mean" or not name or name not in before.taken_by:
        how = "in a function of its own" if pooled.operation == "mean" else f"by {pooled.operation}"
        raise ValueError(
            f"the head of {type(model).__name__} pools {how}, not in a module that averages: leave out the "
            "head, or put saam.ScorePool2d(channels) there yourself"
        )
    module = visible_modules(model)[name]
    while isinstance(module, Attended):
        module = module.original
    if isinstance(module, UpgradedPool):
        return [], {name: _reason(name, module, request) or ""}
    pool = _squeeze(request, before.shape[1], model)
    replacements[module] = UpgradedPool(module, pool, keepdim=len(pooled.shape) == 4, request=request)
    return [_change(name, before.shape[1], module, pool, type(module).__name__)], {}


def _change(name: str, channels: int, module: nn.Module, pool: nn.Module, label: str) -> Change:
    old = {id(parameter) for parameter in module.parameters()}
    added = sum(parameter.numel() for parameter in pool.parameters() if id(parameter) not in old)
    return Change(name, channels, f"{label}: squeeze {type(pool).__name__}", added)
