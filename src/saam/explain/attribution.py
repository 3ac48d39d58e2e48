"""Grad-CAM and integrated gradients, the maps that score maps are compared with. Captum computes both.

Grad-CAM: Selvaraju et al., ICCV 2017, at the last feature map. Integrated gradients: Sundararajan, Taly & Yan, ICML
2017, from the mean colour (zero after normalisation), as the absolute value of the sum over the colours.

Both become maps (B, 1, h, w) that sum to one over their pixels, like score maps, so that all of them can be drawn and
measured in one unit: the weight relative to a uniform map. Where a map has no positive value, it is uniform.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from saam._core.devices import doubled
from saam.explain.inspected import hooked, inspected

__all__ = ["METHODS", "WHY_NO_GRAD_CAM", "grad_cam", "integrated_gradients", "last_map", "methods_for"]

WHY_NO_GRAD_CAM = "There is no Grad-CAM: no module of the network has a feature map (B, C, h, w) as output."


def grad_cam(model: nn.Module, x: Tensor, classes: Tensor, *, layer: nn.Module | None = None) -> Tensor:
    """Return the positive part of Grad-CAM for a class of each image.

    Args:
        model: A classifier with logits (B, classes).
        x: (B, C, H, W) its input, on its device.
        classes: (B,) indices of the classes to explain.
        layer: The module whose output is weighted; None takes :func:`last_map`.

    Returns:
        (B, 1, h, w) at the resolution of the layer, each summing to one.

    Raises:
        ModuleNotFoundError: If captum is not installed.
        ValueError: If the model has no feature map.
    """
    attribution = _captum()
    where = last_map(model, x) if layer is None else layer
    with inspected(model, gradients=True):
        maps = attribution.LayerGradCam(model, where)
        found = maps.attribute(x.detach().requires_grad_(), target=classes, relu_attributions=True)
    return _shares(found)


def integrated_gradients(model: nn.Module, x: Tensor, classes: Tensor, *, steps: int = 32) -> Tensor:
    """Return the magnitude of integrated gradients for a class of each image.

    Args:
        model: A classifier with logits (B, classes).
        x: (B, C, H, W) its input, on its device.
        classes: (B,) indices of the classes to explain.
        steps: Number of points on the path from the mean colour to the image.

    Returns:
        (B, 1, H, W), each summing to one.

    Raises:
        ModuleNotFoundError: If captum is not installed.
    """
    attribution = _captum()
    with inspected(model, gradients=True):
        found = attribution.IntegratedGradients(model).attribute(
            x.detach().requires_grad_(), target=classes, n_steps=steps, internal_batch_size=max(64, len(x))
        )
    return _shares(found.sum(1, keepdim=True).abs())


METHODS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "Grad-CAM": grad_cam,
    "integrated gradients": integrated_gradients,
}
"""Name -> function of model, input and classes to maps (B, 1, h, w)."""


def methods_for(model: nn.Module, x: Tensor) -> dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]]:
    """Return the methods that apply to a network with input x (B, C, H, W): without a feature map no Grad-CAM."""
    return METHODS if _with_maps(model, x) else {name: each for name, each in METHODS.items() if each is not grad_cam}


def last_map(model: nn.Module, x: Tensor) -> nn.Module:
    """Return the module that finishes last among those whose output is a feature map of more than one pixel.

    In a convolutional classifier this is the stage before the pooling, where Grad-CAM is usually taken.

    Raises:
        ValueError: If there is none.
    """
    found = _with_maps(model, x)
    if not found:
        raise ValueError(
            f"expected a network with a feature map (B, C, h, w) for Grad-CAM, found none in {type(model).__name__}; "
            "pass layer=, a module whose output is one"
        )
    return found[-1]


def _with_maps(model: nn.Module, x: Tensor) -> list[nn.Module]:
    """Return the modules whose output is a feature map of more than one pixel, in the order in which they finish."""
    seen: list[nn.Module] = []

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.dim() == 4 and output[0, 0].numel() > 1:
            seen.append(module)

    hooks = (module.register_forward_hook(note) for module in model.modules() if module is not model)
    with hooked(hooks), inspected(model):
        model(x[:1])
    return seen


def _shares(maps: Tensor) -> Tensor:
    """Divide non-negative maps (B, 1, h, w) by their sums; a map of zeros becomes uniform."""
    exact = doubled(maps.detach())
    total = exact.sum((2, 3), keepdim=True)
    uniform = torch.full_like(exact, 1 / (exact.shape[2] * exact.shape[3]))
    shares = torch.where(total > 0, exact / total.clamp(min=torch.finfo(exact.dtype).tiny), uniform)
    return shares.float().to(maps.device)


def _captum() -> Any:
    try:
        from captum import attr
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Grad-CAM and integrated gradients need {error.name}: pip install 'saam[explain]'"
        ) from error
    return attr
