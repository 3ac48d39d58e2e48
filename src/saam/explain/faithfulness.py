"""Measure whether a map tells what the network uses: change the pixels that it marks and watch the prediction.

Maps are (B, H, W) at the resolution of the input. Only the order of their pixels counts; equal pixels are ordered at
random. The prediction is the probability of one class, usually the predicted one.

Sources: deletion and insertion, Petsiuk, Das & Saenko, RISE, BMVC 2018; ROAD, Rong et al., ICML 2022.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saam._core.modes import mode
from saam.explain.imputation import impute

__all__ = ["SHARES", "deletion", "insertion", "road"]

SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""The shares of pixels that ROAD removes."""

_BATCH = 256


def deletion(model: nn.Module, x: Tensor, maps: Tensor, classes: Tensor, *, steps: int = 16, seed: int = 0) -> Tensor:
    """Return the mean probability while pixels are replaced by the mean colour, those of most weight first.

    Args:
        model: A classifier with logits (B, classes).
        x: (B, C, H, W) its input, on its device.
        maps: (B, H, W).
        classes: (B,) indices of the classes whose probability is taken.
        steps: Number of equal parts in which the pixels are replaced.
        seed: Orders equal pixels.

    Returns:
        (B,) area under the curve, in [0, 1]: the lower, the more of the decision was marked.

    Raises:
        ValueError: If the maps do not fit the input.
    """
    return _curve(model, x, torch.zeros_like(x), maps, classes, steps, seed)


def insertion(model: nn.Module, x: Tensor, maps: Tensor, classes: Tensor, *, steps: int = 16, seed: int = 0) -> Tensor:
    """Return the mean probability while pixels are put into the blurred image, those of most weight first.

    Args and Raises: As in :func:`deletion`.

    Returns:
        (B,) area under the curve, in [0, 1]: the higher, the more of the decision was marked.
    """
    return _curve(model, _blurred(x), x, maps, classes, steps, seed)


def road(model: nn.Module, x: Tensor, maps: Tensor, classes: Tensor, *, seed: int = 0) -> Tensor:
    """Return how much more of the probability is left without the least relevant pixels than without the most relevant.

    10, 30, 50, 70 and 90 % of the pixels are removed by noisy linear imputation, see :mod:`saam.explain.imputation`.

    Args:
        model: A classifier with logits (B, classes).
        x: (B, C, H, W) its input, on its device.
        maps: (B, H, W).
        classes: (B,) indices of the classes whose probability is taken.
        seed: Orders equal pixels, and draws the noise.

    Returns:
        (B,) difference, mean over the shares, in [-1, 1]: 0 if the order tells nothing.

    Raises:
        ModuleNotFoundError: If scipy is not installed.
        ValueError: If the maps do not fit the input.
    """
    ranks, count = _ranks(x, maps, seed), x.shape[2] * x.shape[3]
    generator = torch.Generator().manual_seed(seed)
    differences = []
    for share in SHARES:
        least, most = ranks >= round((1 - share) * count), ranks < round(share * count)
        kept = [
            _probability(model, impute(x, gone.view(len(x), *x.shape[2:]), generator=generator), classes)
            for gone in (least, most)
        ]
        differences.append(kept[0] - kept[1])
    return torch.stack(differences).mean(0)


def _curve(
    model: nn.Module, before: Tensor, after: Tensor, maps: Tensor, classes: Tensor, steps: int, seed: int
) -> Tensor:
    """Return the area under the probability while the pixels of most weight go over from one image to the other."""
    ranks, count = _ranks(before, maps, seed), before.shape[2] * before.shape[3]
    values = []
    for step in range(steps + 1):
        changed = (ranks < round(step / steps * count)).view(len(before), 1, *before.shape[2:])
        values.append(_probability(model, torch.where(changed.to(before.device), after, before), classes))
    return torch.trapezoid(torch.stack(values), dx=1 / steps, dim=0)


def _ranks(x: Tensor, maps: Tensor, seed: int) -> Tensor:
    """Return the rank of each pixel (B, H W), 0 for the one of most weight."""
    if x.dim() != 4 or maps.shape != (len(x), *x.shape[2:]):
        raise ValueError(f"expected maps (B, H, W) for images {tuple(x.shape)}, got {tuple(maps.shape)}")
    values = maps.detach().cpu().flatten(1)
    shuffle = torch.randperm(values.shape[1], generator=torch.Generator().manual_seed(seed), device="cpu")
    order = shuffle[values[:, shuffle].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1)


def _probability(model: nn.Module, x: Tensor, classes: Tensor) -> Tensor:
    with mode(model, training=False), torch.no_grad():
        logits = torch.cat(list(_outputs(model, x)))
    return logits.float().softmax(1).gather(1, classes.view(-1, 1).to(logits.device))[:, 0].cpu()


def _outputs(model: nn.Module, x: Tensor) -> Iterator[Tensor]:
    for part in torch.split(x, _BATCH):
        yield model(part)


def _blurred(x: Tensor) -> Tensor:
    """Blur with a Gaussian whose standard deviation is an eighth of the shorter side."""
    sigma = min(x.shape[2:]) / 8
    reach = torch.arange(-round(2 * sigma), round(2 * sigma) + 1, device=x.device, dtype=x.dtype)
    kernel = (-(reach**2) / (2 * sigma**2)).exp()
    kernel = (kernel / kernel.sum()).expand(x.shape[1], 1, -1)
    half = len(reach) // 2
    down = F.conv2d(F.pad(x, (0, 0, half, half), mode="replicate"), kernel.unsqueeze(3), groups=x.shape[1])
    return F.conv2d(F.pad(down, (half, half, 0, 0), mode="replicate"), kernel.unsqueeze(2), groups=x.shape[1])
