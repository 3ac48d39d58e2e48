"""One training step, and all state that it changes."""

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from saam.training.distributed import Group
from saam.training.parameters import parameter_groups
from saam.training.recipe import Recipe
from saam.training.schedule import schedule_factor

__all__ = ["Stepper", "require_precision"]


class Stepper:
    """A network with the state of its training: optimizer, gradient scaler, moving average of the weights.

    The training loop and the measurement of costs use the same steps.

    Args:
        model: Maps x (B, C, H, W) to logits (B, classes). It is moved to the device and into the recipe's memory order.
        recipe: Optimizer, precision, clipping, averaging, schedule.
        group: The processes that train together, and the device.
        new_parameters: Names of parameters that learn faster, by `Recipe.new_parameters_factor`.

    Raises:
        ValueError: If the model has nothing to train, the device does not support the recipe's precision, or the
            precision is "auto".
    """

    def __init__(self, model: nn.Module, recipe: Recipe, group: Group, new_parameters: Collection[str] = ()) -> None:
        if recipe.precision == "auto":
            raise ValueError(
                "precision 'auto' is measured by compare() and saam train alone: pass 'no', 'bf16' or 'fp16'"
            )
        require_precision(recipe, group.device)
        self.memory_format = torch.channels_last if recipe.channels_last else torch.preserve_format
        self.model, self.recipe, self.group = model, recipe, group
        model.to(group.device).to(memory_format=self.memory_format)
        self.optimizer = _optimizer(model, recipe, new_parameters)
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=recipe.precision == "fp16")
        self.average: AveragedModel | None = None
        if recipe.ema:
            averaging = get_ema_multi_avg_fn(recipe.ema)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(model, multi_avg_fn=averaging, use_buffers=True)
        self.network = DistributedDataParallel(model) if group.size > 1 else model
        self.learning_rate = 0.0

    @property
    def validated(self) -> nn.Module:
        """The network to validate: the averaged one if the recipe uses averaging."""
        return self.model if self.average is None else self.average.module

    def step(self, x: Tensor, y: Tensor, progress: float) -> tuple[Tensor, Tensor, int]:
        """Take one step on this process's share of a batch.

        Args:
            x: Whole batch (B, C, H, W).
            y: Labels (B,), or class probabilities (B, classes).
            progress: Completed share of the run, in [0, 1]; determines the learning rate.

        Returns:
            Mean loss of the share, the number of correct images, and the number of images in the share.
        """
        recipe, group = self.recipe, self.group
        batch = len(x)
        non_blocking = group.device.type == "cuda"  # on others a copy may read memory that is already used again
        x = x[group.rank :: group.size].to(group.device, memory_format=self.memory_format, non_blocking=non_blocking)
        y = y[group.rank :: group.size].to(group.device, non_blocking=non_blocking)
        self.learning_rate = recipe.learning_rate * schedule_factor(
            recipe.schedule, progress, warmup_fraction=recipe.warmup_fraction, milestones=recipe.milestones
        )
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate * parameters["factor"]
        with self.autocast():
            logits = self.network(x).float()
        loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
        self.optimizer.zero_grad()
        # the mean of these over the processes is the mean over the batch, even if the shares differ in size
        self.scaler.scale(loss * (len(x) * group.size / batch) if group.size > 1 else loss).backward()  # type: ignore[no-untyped-call]
        if recipe.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update_parameters(self.model)
        hits = logits.detach().argmax(1) == (y if y.ndim == 1 else y.argmax(1))
        return loss.detach(), hits.sum(), len(x)

    def autocast(self) -> torch.autocast:
        """Return the context of the recipe's precision."""
        half = torch.float16 if self.recipe.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.group.device.type, half, enabled=self.recipe.precision != "no")

    def finish(self) -> None:
        """Copy the averaged weights into the model, if the recipe uses averaging."""
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every part."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of every part."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        parts = {"model": self.model, "optimizer": self.optimizer, "average": self.average, "scaler": self.scaler}
        return {name: part for name, part in parts.items() if part is not None}


def require_precision(recipe: Recipe, device: torch.device) -> None:
    """Raise an error unless a device can train in the recipe's precision.

    Raises:
        ValueError: If the device cannot do it.
    """
    if recipe.precision == "fp16" and device.type == "cpu":
        raise ValueError("precision 'fp16' needs a GPU, got the CPU: use precision='bf16' or 'no'")


def _optimizer(model: nn.Module, recipe: Recipe, new_parameters: Collection[str]) -> Optimizer:
    groups = parameter_groups(
        model,
        weight_decay=recipe.weight_decay,
        new_parameters=new_parameters,
        new_parameters_factor=recipe.new_parameters_factor,
    )
    if recipe.optimizer == "adamw":
        return AdamW(groups, recipe.learning_rate, betas=(recipe.momentum, recipe.beta2))
    return SGD(groups, recipe.learning_rate, recipe.momentum, nesterov=recipe.nesterov, foreach=True)
