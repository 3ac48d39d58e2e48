"""What the backbones share."""

from torch import Tensor, nn

__all__ = ["GlobalMean", "start_convolutions"]


class GlobalMean(nn.Module):
    """The mean over the pixels before a classifier: (B, C, H, W) -> (B, C). A module, so that it can be upgraded."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool ``x``."""
        return x.mean((2, 3))


def start_convolutions(model: nn.Module) -> None:
    """Draw the weights of all convolutions as He et al. do: normal, the variance 2 / (kernel area * channels out)."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
