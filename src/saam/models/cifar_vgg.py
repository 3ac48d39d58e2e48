"""VGG with batch norm for CIFAR: the convolutions of Simonyan & Zisserman (arXiv:1409.1556) and one linear layer.

It has no branches. Attention goes to the ends of the stages (``where="stage"``), before each pooling.

    VGG-11  9,231,114 parameters   VGG-13  9,416,010   VGG-16  14,728,266   VGG-19  20,040,522
"""

from torch import Tensor, nn

from saam.models.layers import GlobalMean, start_convolutions

__all__ = ["VGG"]

_CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """A VGG for small images.

    Args:
        depth: 11, 13, 16 or 19.
        num_classes: Width of the classifier.
        in_channels: Channels of the images.

    Shape:
        (B, in_channels, H, W) with sides of 32 pixels or more -> logits (B, num_classes).

    Raises:
        ValueError: If the depth is not supported.
    """

    def __init__(self, depth: int, *, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        if depth not in _CONVOLUTIONS:
            raise ValueError(f"a VGG has {', '.join(map(str, _CONVOLUTIONS))} layers, got {depth}")
        layers: list[nn.Module] = []
        channels = in_channels
        for width, count in zip((64, 128, 256, 512, 512), _CONVOLUTIONS[depth], strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = GlobalMean()
        self.fc = nn.Linear(channels, num_classes)
        start_convolutions(self)
        for layer in layers:
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes)."""
        return self.fc(self.pool(self.features(x)))
