"""DenseNet-BC for CIFAR (Huang et al., arXiv:1608.06993).

Three blocks of n layers, each ``cat(x, conv2(relu(bn2(conv1(relu(bn1(x)))))))`` with a 1x1 bottleneck of 4k channels
and k new channels from a 3x3 convolution. Between the blocks the number of channels is halved. Attention goes on the
new channels, after ``conv2``.

    DenseNet-BC-100-12   769,162 parameters (0.8 M in the paper)
    DenseNet-BC-190-40   25,624,430 (25.6 M)
"""

import torch
from torch import Tensor, nn

from saam.models.layers import GlobalMean, start_convolutions

__all__ = ["DenseLayer", "DenseNetBC"]


class DenseLayer(nn.Module):
    """Compute ``growth`` new channels from all previous ones and append them."""

    def __init__(self, channels_in: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels_in + growth, H, W)."""
        new = self.conv2(self.bn2(self.conv1(self.bn1(x).relu())).relu())
        return torch.cat((x, new), 1)


class DenseNetBC(nn.Module):
    """A DenseNet with bottlenecks and compression 0.5 for small images.

    Args:
        depth: 6n+4: 100, 190, 250, ...
        growth: The number k of channels that each layer adds.
        num_classes: Width of the classifier.
        stem_stride: Stride of the first convolution.
        in_channels: Channels of the images.

    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes).

    Raises:
        ValueError: If the depth is not 6n+4.
    """

    def __init__(
        self, depth: int = 100, growth: int = 12, *, num_classes: int = 10, stem_stride: int = 1, in_channels: int = 3
    ) -> None:
        super().__init__()
        if depth < 10 or depth % 6 != 4:
            raise ValueError(f"the depth of a DenseNet-BC is 6n+4 (40, 100, 190, 250, ...), got {depth}")
        channels = 2 * growth
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, stem_stride, 1, bias=False)]
        for block in range(3):
            if block:
                layers += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
                layers += [nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)]
                channels //= 2
            for _ in range((depth - 4) // 6):
                layers.append(DenseLayer(channels, growth))
                channels += growth
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        self.pool = GlobalMean()
        self.fc = nn.Linear(channels, num_classes)
        start_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes)."""
        return self.fc(self.pool(self.features(x)))
