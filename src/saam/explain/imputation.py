"""Noisy linear imputation: fill removed pixels from their neighbours, so that the removal leaves no shape behind.

Every removed pixel becomes the weighted mean of its eight neighbours, removed or not (a weight of 1/6 for each direct
neighbour and 1/12 for each diagonal one), plus a little noise. The means of all removed pixels are one sparse linear
system. A plain fill, such as black, would show the network the outline of what was removed.

Source: Rong, Leemann, Borisov, Kasneci & Kasneci, A Consistent and Efficient Evaluation Strategy for Attribution
    Methods, ICML 2022.
"""

import functools
from typing import Any

import torch
from torch import Tensor

__all__ = ["NOISE", "impute"]

NOISE = 0.01
"""Standard deviation of the noise, in units of the network's input."""

_NEIGHBOURS = {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12}  # the other four by symmetry


def impute(x: Tensor, removed: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Return images with their removed pixels filled.

    Args:
        x: (B, C, H, W).
        removed: bool (B, H, W), with at least one kept pixel in each image.
        generator: Draws the noise, on the CPU; None adds no noise.

    Returns:
        (B, C, H, W); kept pixels are unchanged.

    Raises:
        ModuleNotFoundError: If scipy is not installed.
        ValueError: If shapes do not match, or no pixel of an image is kept.
    """
    if x.dim() != 4 or removed.shape != (len(x), *x.shape[2:]) or removed.dtype != torch.bool:
        raise ValueError(
            f"expected images (B, C, H, W) and bool (B, H, W), got {tuple(x.shape)} and {removed.dtype} "
            f"{tuple(removed.shape)}"
        )
    if removed.flatten(1).all(1).any():
        raise ValueError("expected a kept pixel in every image: nothing is left to fill from")
    solve, laplacian = _solver(), _laplacian(*x.shape[2:])
    filled = x.detach().cpu().double().flatten(2).clone()  # (B, C, H W)
    for image, gone in zip(filled, removed.cpu().flatten(1), strict=True):
        if not gone.any():
            continue
        rows = laplacian[gone.numpy()]
        known = rows[:, (~gone).numpy()] @ image[:, ~gone].T.numpy()  # (removed, C)
        means = torch.from_numpy(solve(rows[:, gone.numpy()].tocsc(), -known)).reshape(-1, len(image)).T
        noise = 0.0 if generator is None else NOISE * torch.randn(means.shape, generator=generator, device="cpu")
        image[:, gone] = means + noise
    return filled.reshape(x.shape).to(x)


def _solver() -> Any:
    try:
        from scipy.sparse.linalg import spsolve
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("imputation needs scipy: pip install 'saam[explain]'") from error
    return spsolve


@functools.lru_cache(maxsize=4)
def _laplacian(h: int, w: int) -> Any:
    """Return the matrix L (h w, h w) for which L v = 0 says that each pixel is the weighted mean of its neighbours."""
    from scipy.sparse import coo_array, diags_array

    places = torch.arange(h * w).view(h, w)
    weights = coo_array((h * w, h * w))
    for (down, right), weight in _NEIGHBOURS.items():
        here = places[: h - down, max(0, -right) : w - max(0, right)].flatten()
        there = places[down:, max(0, right) : w + min(0, right)].flatten()
        pairs = coo_array(([weight] * len(here), (here.numpy(), there.numpy())), shape=(h * w, h * w))
        weights = weights + pairs + pairs.T
    return (diags_array(weights.sum(axis=1)) - weights).tocsr()
