"""The dtype that a part computes in."""

from itertools import chain

import torch
from torch import nn

__all__ = ["dtype_of"]


def dtype_of(module: nn.Module, otherwise: torch.dtype) -> torch.dtype:
    """Return the dtype of the first floating parameter of a module, or ``otherwise`` if there is none.

    A replica of nn.DataParallel has no parameters; its ``_former_parameters`` are their copies. Weights in 4 bits are
    stored as uint8, which is not floating.
    """
    copies = (copy for part in module.modules() for copy in getattr(part, "_former_parameters", {}).values())
    floating = (tensor.dtype for tensor in chain(module.parameters(), copies) if tensor.is_floating_point())
    return next(floating, otherwise)
