"""MobileNetV2 for 32x32 images (Sandler et al., arXiv:1801.04381), with two of its strides removed.

As usual on CIFAR, the stem and the second stage keep the size of the map. The layers are those of the paper, so with
ten classes it has the 2,236,682 parameters of torchvision's network. A branch ends with the norm ``bn3``, where
attention goes.
"""

from torch import Tensor, nn

from saam.models.layers import GlobalMean, start_convolutions

__all__ = ["InvertedResidual", "MobileNetV2"]

_STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels, blocks, stride of the first block."""


class InvertedResidual(nn.Module):
    """1x1 expansion, depthwise 3x3, linear 1x1 projection; the input is added if the shape does not change."""

    def __init__(self, channels_in: int, channels: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = expansion * channels_in
        self.expand: nn.Module = nn.Identity()
        if expansion != 1:
            self.expand = nn.Sequential(
                nn.Conv2d(channels_in, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6(inplace=True)
            )
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.act2 = nn.ReLU6(inplace=True)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.adds = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels, H / stride, W / stride)."""
        branch = self.bn3(self.conv3(self.act2(self.bn2(self.conv2(self.expand(x))))))
        return x + branch if self.adds else branch


class MobileNetV2(nn.Module):
    """A MobileNetV2 for small images.

    Args:
        num_classes: Width of the classifier.
        in_channels: Channels of the images.

    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes).
    """

    def __init__(self, *, num_classes: int = 10, in_channels: int = 3) -> None:
        super().__init__()
        channels = 32
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)]
        layers.append(nn.ReLU6(inplace=True))
        for expansion, width, blocks, stride in _STAGES:
            for block in range(blocks):
                layers.append(InvertedResidual(channels, width, expansion, 1 if block else stride))
                channels = width
        layers += [nn.Conv2d(channels, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU6(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.pool = GlobalMean()
        self.fc = nn.Linear(1280, num_classes)
        start_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes)."""
        return self.fc(self.pool(self.features(x)))
