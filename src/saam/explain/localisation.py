"""Measure whether a map looks at the object, by comparing it with the object's mask.

Maps are (B, G, h, w), non-negative, each summing to one. Masks are (B, H, W), true or 1 on the object, at any
resolution. A map pixel covers a cell of the mask, so a coarse map is weighed by the share of the object in each cell.
The pointing game is from Zhang et al., "Top-down neural attention by excitation backprop" (ECCV 2016).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["area_share", "mass_share", "pointing_game", "relative_mass"]


def mass_share(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share of a map's mass on the object: sum over pixels of map * coverage, in [0, 1].

    Args:
        maps: (B, G, h, w).
        masks: (B, H, W).

    Returns:
        (B, G).

    Raises:
        ValueError: If shapes do not match, or a mask is coarser than its map.
    """
    return (maps * _coverage(maps, masks)).sum(dim=(2, 3))


def area_share(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share of the mask's area at the maps' resolution: the mass share of a uniform map (mean pooling).

    Args:
        maps: (B, G, h, w); only its shape is used.
        masks: (B, H, W).

    Returns:
        (B, 1).

    Raises:
        ValueError: If shapes do not match, or a mask is coarser than its map.
    """
    return _coverage(maps, masks).mean(dim=(2, 3))


def relative_mass(maps: Tensor, masks: Tensor) -> Tensor:
    """Return mass share over area share: 1 for mean pooling, 2 if twice as much weight is on the object.

    Args:
        maps: (B, G, h, w).
        masks: (B, H, W), none of them empty.

    Returns:
        (B, G).

    Raises:
        ValueError: If shapes do not match, a mask is coarser than its map, or a mask is empty.
    """
    share = area_share(maps, masks)
    empty = (share == 0).flatten().nonzero().flatten().tolist()
    if empty:
        raise ValueError(f"expected an object in every mask, but masks {empty} are empty; leave those images out")
    return mass_share(maps, masks) / share


def pointing_game(maps: Tensor, masks: Tensor, *, tolerance: int = 0) -> Tensor:
    """Return 1 if the map's peak hits the object, otherwise 0; tied peaks share the point.

    The peak is the mask pixel at the centre of the largest map pixel.

    Args:
        maps: (B, G, h, w).
        masks: (B, H, W).
        tolerance: Distance from the object, in mask pixels along each axis, within which a peak still hits.

    Returns:
        (B, G) in [0, 1].

    Raises:
        ValueError: If shapes do not match, a mask is coarser than its map, or the tolerance is negative.
    """
    _check(maps, masks)
    if tolerance < 0:
        raise ValueError(f"expected tolerance >= 0 pixels, got {tolerance}")
    (h, w), (H, W) = maps.shape[2:], masks.shape[1:]
    near = F.max_pool2d(masks.to(maps.dtype).unsqueeze(1), 2 * tolerance + 1, stride=1, padding=tolerance)
    rows = (2 * torch.arange(h, device=masks.device) + 1) * H // (2 * h)
    columns = (2 * torch.arange(w, device=masks.device) + 1) * W // (2 * w)
    hits = near[:, :, rows[:, None], columns]
    peaks = (maps == maps.amax(dim=(2, 3), keepdim=True)).to(maps.dtype)
    return (peaks * hits).sum(dim=(2, 3)) / peaks.sum(dim=(2, 3))


def _coverage(maps: Tensor, masks: Tensor) -> Tensor:
    """Return the share of the object in each map pixel's cell: (B, H, W) -> (B, 1, h, w)."""
    _check(maps, masks)
    return F.interpolate(masks.to(maps.dtype).unsqueeze(1), size=maps.shape[2:], mode="area")


def _check(maps: Tensor, masks: Tensor) -> None:
    if maps.dim() != 4 or masks.dim() != 3 or len(maps) != len(masks):
        raise ValueError(
            f"expected maps (B, G, h, w) and masks (B, H, W), got {tuple(maps.shape)}, {tuple(masks.shape)}"
        )
    if masks.shape[1] < maps.shape[2] or masks.shape[2] < maps.shape[3]:
        raise ValueError(
            f"expected masks at least as fine as the maps, got masks of {tuple(masks.shape[1:])} for maps of "
            f"{tuple(maps.shape[2:])}; pass the masks at the images' resolution"
        )
