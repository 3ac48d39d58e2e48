"""The weights of a network in the form that safetensors stores."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["stored"]


def stored(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a state dict on the CPU, contiguous, and none of them sharing its memory with another."""
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}
