"""What is known of one attention: how to build it, where it comes from, what it needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from saam.nn.squeeze import MapSize

__all__ = ["AttentionRecord"]


@dataclass(frozen=True, kw_only=True)
class AttentionRecord:
    """Description of one attention module."""

    name: str
    """Registry name; variants follow a colon, as in ``se:timm``."""
    build: Callable[..., nn.Module]
    """Function of the channels and keyword options."""
    description: str
    """One line."""
    paper: str
    """Authors, title, venue."""
    arxiv: str = ""
    """arXiv number, if any."""
    source: str
    """Location of the authors' code, or who defined the variant."""
    placement: str = "residual"
    """Where the paper puts the module."""
    formula: str = ""
    """The number of parameters with default options, in terms of C, p = C/16, k, H and W."""
    weight_decay: str = "on all weights, not on biases and norms"
    """The authors' rule for weight decay."""
    needs: tuple[Literal["size", "stage"], ...] = ()
    """Required options that describe the site: "size", (H, W) or one number for both, if the module accepts maps of one
    size only; "stage", from 1, if it depends on the stage of the network."""
    notes: str = ""
    """Differences from its variants, and pitfalls."""

    def options_at(self, *, size: MapSize = 7, stage: int = 1) -> dict[str, Any]:
        """Return the options that the module needs at a site: those of ``size`` and ``stage`` that are in ``needs``."""
        site = {"size": size, "stage": stage}
        return {name: site[name] for name in self.needs}

    def parameters(self, channels: int, **options: Any) -> int:
        """Return the number of parameters of a module, built on the meta device.

        Args:
            channels: C.
            options: Options of the module. A required size defaults to 7, a required stage to 1.
        """
        with torch.device("meta"):
            module = self.build(channels, **self.options_at() | options)
        return sum(parameter.numel() for parameter in module.parameters())
