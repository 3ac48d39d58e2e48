"""The score maps of a network: the weight of each pixel when a score squeeze pools its feature map."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from saam.explain.inspected import first_input, hooked, inspected
from saam.nn import ChannelAttention, ScorePool2d
from saam.surgery import Attended

__all__ = ["collected_maps", "has_scores", "score_maps", "score_pools"]


def score_maps(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Run the model once in eval mode and collect the map of every score squeeze in it.

    Modes are restored, hooks are removed and no gradient is recorded. A site that runs more than once keeps its last
    map.

    Args:
        model: Any network with `ScorePool2d` in it, in a `ChannelAttention` or alone.
        x: (B, C, H, W) input of the model, on the model's device.

    Returns:
        Site name -> (B, G, h, w) weights, G heads at the resolution of the site; each map sums to one over its pixels.
        Sites are in the order of `model.named_modules()` and are named after the module that the attention follows.

    Raises:
        ValueError: If the model has no score squeeze or never calls it, or the scores at a site are not finite.
    """
    with collected_maps(model) as maps, inspected(model):
        model(x)
    if not maps:
        raise ValueError(
            f"expected {type(model).__name__} to call its score squeezes, but none of {len(score_pools(model))} was "
            "called: call each of them, or the attention that has it, in forward as a module, attention(x)"
        )
    for site, weights in maps.items():
        if not weights.isfinite().all():
            raise ValueError(
                f"the scores at site {site!r} are not finite, so its map is NaN: look for NaN or infinity in the input "
                "and in the weights of the network"
            )
    return {site: maps[site] for site in score_pools(model) if site in maps}


@contextmanager
def collected_maps(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the map of every score squeeze that runs in the block, as :func:`score_maps` returns them.

    Raises:
        ValueError: If the model has no score squeeze.
    """
    maps: dict[str, Tensor] = {}
    pools = score_pools(model).items()
    with hooked(
        module.register_forward_pre_hook(_keep(maps, site, pool), with_kwargs=True) for site, (module, pool) in pools
    ):
        yield maps


def has_scores(model: nn.Module) -> bool:
    """Return whether a network has a score squeeze anywhere."""
    return any(isinstance(module, ScorePool2d) for module in model.modules())


def score_pools(model: nn.Module) -> dict[str, tuple[nn.Module, ScorePool2d]]:
    """Return for every score squeeze of a network: site -> (module whose input is pooled, its pool).

    A fused path never calls the squeeze itself, so hooks belong on the attention that owns it.

    Raises:
        ValueError: If the network has no score squeeze.
    """
    owned: set[ScorePool2d] = set()
    sites = [name for name, module in model.named_modules() if isinstance(module, Attended)]
    pools: dict[str, tuple[nn.Module, ScorePool2d]] = {}
    for name, module in model.named_modules():
        if isinstance(module, ChannelAttention) and isinstance(module.squeeze, ScorePool2d):
            owned.add(module.squeeze)
            pool = module.squeeze
        elif isinstance(module, ScorePool2d) and module not in owned:
            pool = module
        else:
            continue
        site = _site(name, sites)
        pools[name if site in pools else site] = module, pool
    if not pools:
        raise ValueError(
            f"expected a model with a score squeeze (ScorePool2d), found none in {type(model).__name__}; "
            "attach one, e.g. saam.attach(model, 'saam'), or upgrade its attention with saam.upgrade(model)"
        )
    return pools


def _site(name: str, sites: Sequence[str]) -> str:
    """Return the site of a module: the one whose attention it is in, or its own name without what every one has."""
    around = [site for site in sites if f"{name}.".startswith(f"{site}.attention." if site else "attention.")]
    if around:
        return max(around, key=len) or "model"
    return re.sub(r"(\.attention)?(\.squeeze(\.pool)?)?$", "", f".{name}", count=1).lstrip(".") or "model"


def _keep(
    maps: dict[str, Tensor], site: str, pool: ScorePool2d
) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        maps[site] = pool.score_map(first_input(module, args, kwargs))

    return hook
