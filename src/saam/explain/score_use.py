"""Measure how much a network uses its scores: a score squeeze that stays near the mean has learned nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from saam.explain.inputs import Batch, images_of
from saam.explain.score_maps import score_maps

__all__ = ["ScoreUse", "score_use"]


@dataclass(frozen=True)
class ScoreUse:
    """How much one score squeeze is used, averaged over images and heads.

    The weights p of a map of H x W pixels sum to one. With them:
    """

    share: float
    """Share of pixels that contribute, ``exp(-sum p log p) / (H W)``: 1 for the mean, 1 / (H W) for a single pixel."""
    lift: float
    """The largest weight relative to the mean's, ``max p * H W``: 1 for the mean, H W for a single pixel."""


def score_use(model: nn.Module, batches: Tensor | Iterable[Batch]) -> dict[str, ScoreUse]:
    """Measure at every site how far the pooling of a network is from the mean.

    The model runs in eval mode without gradients, and modes are restored.

    Args:
        model: Any network with `ScorePool2d` in it, see :func:`saam.score_maps`.
        batches: Input of the model (B, C, H, W), or batches of it. If a batch is a tuple, such as (images, labels), its
            first entry is used.

    Returns:
        Site name -> share and lift, in the order of the network.

    Raises:
        ValueError: If the model has no score squeeze or never calls it, its scores are not finite, or there are no
            images.

    Example:
        >>> from saam import create_model
        >>> score_use(create_model("resnet8", attention="saam"), torch.randn(4, 3, 32, 32))["layer1.0.bn2"]
        ScoreUse(share=1.0, lift=1.0)
    """
    shares: dict[str, list[Tensor]] = {}
    lifts: dict[str, list[Tensor]] = {}
    for x in images_of(model, batches):
        for site, maps in score_maps(model, x).items():
            weights = maps.flatten(2).cpu().double()
            pixels = weights.shape[2]
            shares.setdefault(site, []).append(torch.special.entr(weights).sum(2).exp().flatten() / pixels)
            lifts.setdefault(site, []).append(weights.amax(2).flatten() * pixels)
    return {site: ScoreUse(_mean(shares[site]), _mean(lifts[site])) for site in shares}


def _mean(values: list[Tensor]) -> float:
    return round(float(torch.cat(values).mean()), 6)
