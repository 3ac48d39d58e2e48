"""Gates: from logits (B, C) to the value that meets the feature map.

A gate's value multiplies its channel; a gate whose attribute ``adds`` is true adds it.
"""

from torch import Tensor, nn

__all__ = ["Add", "Doubled", "OnePlusSigmoid", "OnePlusTanh"]


class Add(nn.Module):
    """The logits themselves, added to the map (GCNet)."""

    adds = True

    def forward(self, logits: Tensor) -> Tensor:
        """Return the addend (B, C)."""
        return logits


class OnePlusSigmoid(nn.Module):
    """``1 + sigmoid(logits)`` (BAM): between 1 and 2, so that it only ever enlarges, and 1.5 at zero."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return the factor (B, C)."""
        return 1 + logits.sigmoid()


class OnePlusTanh(nn.Module):
    """``1 + tanh(logits)`` (GCT): between 0 and 2, and 1 at zero."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return the factor (B, C)."""
        return 1 + logits.tanh()


class Doubled(nn.Module):
    """Twice another gate, such as ``2 * sigmoid``: a gate that is a half at zero becomes the identity there."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, logits: Tensor) -> Tensor:
        """Return the factor (B, C)."""
        return 2 * self.gate(logits)
