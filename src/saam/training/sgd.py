"""Stochastic gradient descent with momentum, without all that ``torch.optim`` brings along.

    g = gradient + weight_decay * p;    v = momentum * v + g;    p = p - lr * v    (nesterov: lr * (g + momentum * v))

The numbers are those of `torch.optim.SGD`, bit for bit. The first optimizer of torch that a process makes imports
torch.compile, which takes a second and 150 MB of memory; here that would be so in each worker of a comparison. Each
operation is one call for all parameters.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["Sgd"]


class Sgd:
    """Update parameters by their gradients.

    Args:
        groups: Dicts with ``params``, ``weight_decay`` and whatever else; the learning rate ``lr`` is kept in each.
        learning_rate: Of all groups, to begin with.
        momentum: In [0, 1).
        nesterov: Nesterov's momentum instead of the classical.
    """

    def __init__(self, groups: list[dict[str, Any]], learning_rate: float, momentum: float, *, nesterov: bool) -> None:
        self.param_groups = [{**group, "lr": learning_rate} for group in groups]
        self.momentum, self.nesterov = momentum, nesterov
        self.state: dict[Tensor, Tensor] = {}  # parameter -> v

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update the parameters that have a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            gradients = [parameter.grad for parameter in parameters]
            if group["weight_decay"]:
                gradients = list(torch._foreach_add(gradients, parameters, alpha=group["weight_decay"]))
            torch._foreach_add_(parameters, self._direction(parameters, gradients), alpha=-group["lr"])

    def _direction(self, parameters: list[Tensor], gradients: list[Tensor]) -> list[Tensor]:
        if not self.momentum:
            return gradients
        old = [self.state[parameter] for parameter in parameters if parameter in self.state]
        if old:
            torch._foreach_mul_(old, self.momentum)
            with_old = [g for parameter, g in zip(parameters, gradients, strict=True) if parameter in self.state]
            torch._foreach_add_(old, with_old)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if parameter not in self.state:
                self.state[parameter] = gradient.clone()
        velocities = [self.state[parameter] for parameter in parameters]
        if not self.nesterov:
            return velocities
        return list(torch._foreach_add(gradients, velocities, alpha=self.momentum))

    def state_dict(self) -> dict[str, Any]:
        """Return the momenta, in the order of the parameters; None where there is none yet."""
        return {"momenta": [self.state.get(parameter) for parameter in self._parameters()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put the momenta back."""
        momenta = zip(self._parameters(), state["momenta"], strict=True)
        self.state = {
            parameter: momentum.to(parameter.device, parameter.dtype, copy=True)
            for parameter, momentum in momenta
            if momentum is not None
        }

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]
