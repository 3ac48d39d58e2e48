"""ResNeXt-29 for CIFAR (Xie et al., arXiv:1611.05431, section 5.2).

After a 3x3 stem of 64 channels come three stages of three bottlenecks: 1x1, grouped 3x3, 1x1. A branch ends with the
norm ``bn3``, where attention goes.

    ResNeXt-29, 8x64d    34,426,698 parameters (34.4 M in the paper)
    ResNeXt-29, 16x64d   68,155,210 (68.1 M)
    ResNeXt-29, 32x4d     4,775,754
"""

from torch import Tensor, nn

from saam.models.layers import GlobalMean, start_convolutions

__all__ = ["GroupedBottleneck", "ResNeXt29"]


class GroupedBottleneck(nn.Module):
    """``relu(bn3(conv3(relu(bn2(conv2(relu(bn1(conv1(x)))))))) + shortcut(x))`` with groups in ``conv2``."""

    def __init__(self, channels_in: int, channels: int, inner: int, groups: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels, H / stride, W / stride)."""
        branch = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return (self.bn3(self.conv3(branch)) + self.shortcut(x)).relu()


class ResNeXt29(nn.Module):
    """A ResNeXt of 29 layers for small images.

    Args:
        cardinality: Number of groups, 8 in "8x64d".
        width: Channels of a group in the first stage, 64 in "8x64d".
        num_classes: Width of the classifier.
        stem_stride: Stride of the first convolution.
        in_channels: Channels of the images.

    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes).
    """

    def __init__(
        self,
        cardinality: int = 8,
        width: int = 64,
        *,
        num_classes: int = 10,
        stem_stride: int = 1,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        channels = 64
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        stages = []
        for stage in range(3):
            out, inner = 256 << stage, (cardinality * width) << stage
            first = GroupedBottleneck(channels, out, inner, cardinality, 1 if stage == 0 else 2)
            rest = (GroupedBottleneck(out, out, inner, cardinality, 1) for _ in range(2))
            stages.append(nn.Sequential(first, *rest))
            channels = out
        self.layer1, self.layer2, self.layer3 = stages
        self.pool = GlobalMean()
        self.fc = nn.Linear(channels, num_classes)
        start_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes)."""
        x = self.bn1(self.conv1(x)).relu()
        return self.fc(self.pool(self.layer3(self.layer2(self.layer1(x)))))
