"""The maps whose quality is measured side by side, all at the resolution of the input.

Maps that know nothing of the network are the floors that the others must beat: the uniform map, whose pixels come in
random order, and a Gaussian in the centre of the image, where objects usually are.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saam.explain.attribution import methods_for
from saam.explain.score_maps import has_scores, score_maps

__all__ = ["FLOORS", "compared_maps"]

FLOORS = ("uniform", "centre")
"""Maps that know nothing of the network."""

_BATCH = 64


def compared_maps(model: nn.Module, x: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Return every kind of map that is measured: score maps, those of the other methods that apply, and the floors.

    The score maps are those of the first and the last site, and the mean and the product over all sites; or that of the
    only site.

    Args:
        model: A classifier.
        x: (B, C, H, W) its input, on its device.
        classes: (B,) indices of the classes to explain.

    Returns:
        Method -> (B, H, W) on the CPU, each summing to one.

    Raises:
        ModuleNotFoundError: If captum is not installed.
    """
    size = (x.shape[2], x.shape[3])
    found: dict[str, Tensor] = {}
    if has_scores(model):
        sites = [_fine(maps.mean(1, keepdim=True), size) for maps in score_maps(model, x).values()]
        found = {"scores": sites[0]} if len(sites) == 1 else _combined(torch.stack(sites))
    parts = list(zip(torch.split(x, _BATCH), torch.split(classes, _BATCH), strict=True))
    for name, method in methods_for(model, x).items():
        found[name] = torch.cat([_fine(method(model, *part), size) for part in parts])
    return found | {"uniform": torch.full((len(x), *size), 1 / (size[0] * size[1])), "centre": _centre(len(x), size)}


def _combined(sites: Tensor) -> dict[str, Tensor]:
    """Combine the maps of several sites (sites, B, H, W)."""
    logs = sites.clamp(min=torch.finfo(sites.dtype).tiny).log().sum(0)
    return {
        "scores, first site": sites[0],
        "scores, last site": sites[-1],
        "scores, mean of sites": sites.mean(0),
        "scores, product of sites": logs.flatten(1).softmax(1).view_as(logs),
    }


def _fine(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge maps (B, 1, h, w) as they are drawn, and let them sum to one: (B, H, W)."""
    enlarged = F.interpolate(maps.detach().cpu().float(), size=size, mode="bilinear", align_corners=False)[:, 0]
    return enlarged / enlarged.sum((1, 2), keepdim=True)


def _centre(count: int, size: tuple[int, int]) -> Tensor:
    """Return a Gaussian in the middle whose standard deviation is a quarter of each side."""
    rows, columns = (torch.exp(-0.5 * ((torch.arange(n) + 0.5 - n / 2) / (n / 4)) ** 2) for n in size)
    gaussian = rows[:, None] * columns
    return (gaussian / gaussian.sum()).expand(count, *size)
