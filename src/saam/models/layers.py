"""Layers and helpers shared by the backbones."""

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["GlobalMean", "stage_widths", "start_convolutions"]


class GlobalMean(nn.Module):
    """The mean over the pixels before a classifier, as a module that can be upgraded: (B, C, H, W) -> (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x``."""
        return x.mean((2, 3))


def start_convolutions(model: nn.Module) -> None:
    """Initialize all convolutions as He et al. do: normal with variance 2 / (kernel area * output channels)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def stage_widths(width: int | Sequence[int]) -> tuple[int, int, int]:
    """Return the channels of three stages; one number w stands for (w, 2w, 4w).

    Raises:
        ValueError: If it is neither one number nor three, or one is below 1.
    """
    widths = (width, 2 * width, 4 * width) if isinstance(width, int) else tuple(width)
    if len(widths) != 3 or min(widths) < 1:
        raise ValueError(f"width must be one number, or three for the three stages, got {width!r}")
    return widths
