"""Do maps depend on what the network has learned? Shuffle its weights, and compare the maps before and after.

A map that stays the same shows the image, not the network. The weights of each tensor are permuted, which destroys what
was learned and keeps their distribution.

Source: Adebayo, Gilmer, Muelly, Goodfellow, Hardt & Kim, Sanity Checks for Saliency Maps, NeurIPS 2018.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from saam.explain.inspected import hooked, inspected

__all__ = ["classifier_of", "rank_correlation", "shuffled"]


def shuffled(model: nn.Module, *, part: str | None = None, seed: int = 0) -> nn.Module:
    """Return a copy of a network whose parameters are permuted, each among its own entries; buffers stay.

    Args:
        model: The network; it is not changed.
        part: Name of the module whose parameters are permuted, the others stay; None permutes all.
        seed: Draws the permutations.

    Raises:
        AttributeError: If there is no such module.
    """
    made, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in (made if part is None else made.get_submodule(part)).parameters():
            order = torch.randperm(parameter.numel(), generator=generator, device="cpu").to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return made


def classifier_of(model: nn.Module, x: Tensor) -> str | None:
    """Return the name of the module with parameters that makes the logits of x (B, C, H, W); None if there is none."""
    names: list[tuple[str, Any]] = []
    hooks = (
        module.register_forward_hook(lambda _, __, output, name=name: names.append((name, output)))
        for name, module in model.named_modules()
        if name and next(module.parameters(recurse=False), None) is not None
    )
    with hooked(hooks), inspected(model):
        logits = model(x[:1])
    last = [name for name, output in names if isinstance(output, Tensor) and output.shape == logits.shape]
    return last[-1] if last else None


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's rank correlation of the pixels of two maps; 0 if a map is constant.

    Args:
        first: (B, H, W).
        second: (B, H, W).

    Returns:
        (B,) in [-1, 1].

    Raises:
        ModuleNotFoundError: If scipy is not installed.
        ValueError: If the shapes differ.
    """
    if first.dim() != 3 or first.shape != second.shape:
        raise ValueError(f"expected two maps (B, H, W), got {tuple(first.shape)} and {tuple(second.shape)}")
    a, b = (_centred_ranks(maps) for maps in (first, second))
    scale = (a.square().sum(1) * b.square().sum(1)).sqrt()
    return torch.where(scale > 0, (a * b).sum(1) / scale.clamp(min=1e-12), 0.0)


def _centred_ranks(maps: Tensor) -> Tensor:
    try:
        from scipy.stats import rankdata
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("rank correlation needs scipy: pip install 'saam[explain]'") from error
    ranks = torch.from_numpy(rankdata(maps.detach().cpu().flatten(1).numpy(), axis=1))
    return ranks - ranks.mean(1, keepdim=True)
