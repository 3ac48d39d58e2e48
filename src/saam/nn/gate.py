"""Gates: from logits (B, C) to a value per channel.

The value of a gate multiplies its channel. If the attribute ``adds`` of the gate is True, the value is added instead.
"""

from torch import Tensor, nn

__all__ = ["Add", "Doubled", "OnePlusSigmoid", "OnePlusTanh"]


class Add(nn.Module):
    """Return the logits themselves, to be added to the map (GCNet)."""

    adds = True

    def forward(self, logits: Tensor) -> Tensor:
        """Return the addend (B, C)."""
        return logits


class OnePlusSigmoid(nn.Module):
    """``1 + sigmoid(logits)`` (BAM): between 1 and 2, so it only enlarges; 1.5 at zero."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return the factor (B, C)."""
        return 1 + logits.sigmoid()


class OnePlusTanh(nn.Module):
    """``1 + tanh(logits)`` (GCT): between 0 and 2; 1 at zero."""

    def forward(self, logits: Tensor) -> Tensor:
        """Return the factor (B, C)."""
        return 1 + logits.tanh()


class Doubled(nn.Module):
    """Twice another gate, such as ``2 * sigmoid``. A gate that is 1/2 at zero becomes the identity there."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, logits: Tensor) -> Tensor:
        """Return the factor (B, C)."""
        return 2 * self.gate(logits)
