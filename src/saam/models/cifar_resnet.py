"""CIFAR ResNets with 6n+2 layers (He et al., arXiv:1512.03385, section 4.2).

Three stages of n basic blocks follow a 3x3 stem. The first block of stages two and three halves the map. Shortcuts that
change the shape are 1x1 convolutions with a norm, so ResNet-20 has 272,474 parameters for ten classes. Attention goes
after ``bn2``, the last norm of each residual branch.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from saam.models.layers import GlobalMean, stage_widths, start_convolutions

__all__ = ["BasicBlock", "CifarResNet"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: ``relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x))``."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels, H / stride, W / stride)."""
        branch = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (branch + self.shortcut(x)).relu()


class CifarResNet(nn.Module):
    """A ResNet for small images.

    Args:
        depth: Number of layers, 6n+2: 8, 14, 20, 32, 44, 56, 110, ...
        num_classes: Width of the classifier.
        width: Channels of the three stages; one number w stands for (w, 2w, 4w).
        stem_stride: Stride of the first convolution; 2 makes the network about four times as fast.
        in_channels: Channels of the images.

    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes).

    Raises:
        ValueError: If the depth is not 6n+2, or the width is neither one number nor three.
    """

    def __init__(
        self,
        depth: int,
        *,
        num_classes: int = 10,
        width: int | Sequence[int] = 16,
        stem_stride: int = 1,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"the depth of a CIFAR ResNet is 6n+2 (8, 14, 20, 32, 44, 56, 110, ...), got {depth}")
        self.widths = widths = stage_widths(width)
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, stem_stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        blocks = (depth - 2) // 6
        self.layer1 = _stage(widths[0], widths[0], blocks, 1)
        self.layer2 = _stage(widths[0], widths[1], blocks, 2)
        self.layer3 = _stage(widths[1], widths[2], blocks, 2)
        self.pool = GlobalMean()
        self.fc = nn.Linear(widths[2], num_classes)
        start_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes)."""
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(self.pool(x))


def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))
