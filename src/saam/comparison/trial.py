"""A network on one random batch, for timing training steps and inference."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from saam._core.modes import mode
from saam.training import Group, Recipe, Stepper

__all__ = ["Trial"]

_LEARNING_RATE = 1e-4  # so that the measured weights hardly change


class Trial:
    """A model with a random batch, for timing training steps and inference.

    Args:
        model: Maps x (B, 3, H, W) to logits (B, classes). Its weights hardly change.
        recipe: Defines batch size, optimizer, precision, clipping, averaging and memory order.
        image_size: (H, W).
        device: Device of the steps.
    """

    def __init__(self, model: nn.Module, recipe: Recipe, image_size: tuple[int, int], device: torch.device) -> None:
        recipe = recipe.replace(learning_rate=_LEARNING_RATE)
        generator = torch.Generator().manual_seed(0)
        self.stepper = Stepper(model, recipe, Group(0, 1, device))
        x = torch.randn(recipe.batch_size, 3, *image_size, generator=generator)
        self.x = x.to(device, memory_format=self.stepper.memory_format)
        with mode(model, training=False):
            classes = self.infer().shape[1]
        self.y = torch.randint(classes, (recipe.batch_size,), generator=generator).to(device)
        model.train()
        self.step()

    def step(self) -> None:
        """Make one training step."""
        self.stepper.step(self.x, self.y, 0.5)

    def infer(self) -> Tensor:
        """Return the logits of the batch, without gradients."""
        with torch.inference_mode(), self.stepper.autocast():
            logits: Tensor = self.stepper.model(self.x)
        return logits

    def rest(self) -> Callable[[], Tensor]:
        """Switch the model to evaluation mode, and return the function for inference."""
        self.stepper.model.eval()
        return self.infer

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors that exist between two steps, without keeping references to them."""
        stepper = self.stepper
        yield from stepper.model.parameters()
        yield from (parameter.grad for parameter in stepper.model.parameters() if parameter.grad is not None)
        yield from (entry for entry in tree_leaves(dict(stepper.optimizer.state)) if isinstance(entry, Tensor))
        yield from stepper.model.buffers()
        if stepper.average is not None:
            yield from stepper.average.state_dict().values()
        yield from (self.x, self.y)
