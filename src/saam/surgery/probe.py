"""Run a network to inspect it, without changing it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from saam._core.devices import device_of
from saam._core.modes import mode
from saam._core.random import generators_kept

__all__ = ["at_rest", "call", "run"]

Result = TypeVar("Result")

_SIZES = ((96, 128), (224, 224), (32, 32), (320, 320))  # stems divide by up to 32


@contextmanager
def at_rest(model: nn.Module) -> Iterator[None]:
    """Evaluate without gradients or random draws, and restore the mode of every module at the end.

    Inference mode is left, because it hides operations from dispatch modes, which record graphs and count.
    """
    with mode(model, training=False), torch.inference_mode(False), torch.no_grad(), generators_kept(device_of(model)):
        yield


def call(model: nn.Module, example: Any) -> Any:
    """Call a network: a tuple holds its arguments, a dict its keyword arguments, anything else is its only argument."""
    if isinstance(example, tuple):
        return model(*example)
    if isinstance(example, dict):
        return model(**example)
    return model(example)


def run(model: nn.Module, example: Any, look: Callable[[Any], Result]) -> Result:
    """Return ``look`` of an example, or if that is None, of the first generated image that the network accepts.

    Raises:
        ValueError: If the network runs on none of them; the message has the first error.
    """
    error: Exception | None = None
    for candidate in _examples(model) if example is None else (example,):
        try:
            return look(candidate)
        except Exception as reason:  # the network may raise anything
            error = error or reason
    tried, hint = (
        ("the example", "pass one") if example is not None else ("images of several sizes", "pass example=, one")
    )
    raise ValueError(
        f"{type(model).__name__} does not run on {tried} ({type(error).__name__}: {error}): {hint} that it accepts"
    ) from error


def _examples(model: nn.Module) -> Iterator[Tensor]:
    """Yield inputs that a network for images may accept, the cheapest first: one random image each.

    The first images are not square, so that height, width and channels of a map can be distinguished. A stem that
    rearranges pixels takes other channels than its first convolution.
    """
    first = next((module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), 3)
    config = getattr(model, "pretrained_cfg", None) or {}
    channels, height, width = config.get("input_size", (3, 0, 0))
    sizes = ((height, width),) if config.get("fixed_input_size") else (*_SIZES, (height, width))
    parameter = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    generator = torch.Generator().manual_seed(0)
    for shape in dict.fromkeys((count, *size) for count in (first, channels) for size in sizes if size[0]):
        yield torch.randn(1, *shape, generator=generator, device="cpu").to(parameter.device, parameter.dtype)
