"""CIFAR networks with pre-activation: PreResNet (He et al., arXiv:1603.05027) and WRN (Zagoruyko, arXiv:1605.07146).

After a 3x3 stem come three stages of n blocks ``x + conv2(relu(bn2(conv1(relu(bn1(x))))))``, then a norm and a ReLU. A
branch ends with its second convolution, ``conv2``, where attention goes. If the shape changes, the shortcut is a 1x1
convolution of ``relu(bn1(x))``.

    PreResNet-20    272,282 parameters     PreResNet-110  1,730,522
    WRN-16-8     10,961,370                WRN-28-10     36,479,194     WRN-40-2  2,243,546
"""

from collections.abc import Sequence

from torch import Tensor, nn

from saam.models.layers import GlobalMean, stage_widths, start_convolutions

__all__ = ["PreActivationBlock", "PreActivationResNet"]


class PreActivationBlock(nn.Module):
    """Norm and ReLU before each of two 3x3 convolutions, and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.shortcut: nn.Conv2d | None = None
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, H, W) -> (B, channels, H / stride, W / stride)."""
        active = self.bn1(x).relu()
        branch = self.conv2(self.dropout(self.bn2(self.conv1(active)).relu()))
        return branch + (x if self.shortcut is None else self.shortcut(active))


class PreActivationResNet(nn.Module):
    """A pre-activation ResNet for small images.

    Args:
        depth: 6n+2 for a PreResNet, 6n+4 for a WRN.
        widen: Factor k on the widths of the stages of WRN-depth-k. None means a PreResNet.
        num_classes: Width of the classifier.
        width: Channels of the three stages before that factor; one number w stands for (w, 2w, 4w). Three numbers are
            used without the factor.
        dropout: Dropout between the convolutions of a block; 0.3 in the paper's WRN with dropout.
        stem_stride: Stride of the first convolution.
        in_channels: Channels of the images.

    Shape:
        (B, in_channels, H, W) -> logits (B, num_classes).

    Raises:
        ValueError: If no such network has this depth or factor, or the width is neither one number nor three.
    """

    def __init__(
        self,
        depth: int,
        widen: int | None = None,
        *,
        num_classes: int = 10,
        dropout: float = 0.0,
        stem_stride: int = 1,
        in_channels: int = 3,
        width: int | Sequence[int] = 16,
    ) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != (2 if widen is None else 4) or (widen is not None and widen < 1):
            raise ValueError(
                "a PreResNet has 6n+2 layers (20, 56, 110, ...), a WRN 6n+4 (16, 28, 40, ...) and a factor of 1 or "
                f"more; got {depth} layers{'' if widen is None else f' and the factor {widen}'}"
            )
        blocks = (depth - 2) // 6
        self.widths = stage_widths(width if not isinstance(width, int) else width * (widen or 1))
        channels = 16
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stem_stride, 1, bias=False)
        stages = []
        for stage, out in enumerate(self.widths):
            first = PreActivationBlock(channels, out, 1 if stage == 0 else 2, dropout)
            rest = (PreActivationBlock(out, out, 1, dropout) for _ in range(blocks - 1))
            stages.append(nn.Sequential(first, *rest))
            channels = out
        self.layer1, self.layer2, self.layer3 = stages
        self.norm = nn.BatchNorm2d(channels)
        self.pool = GlobalMean()
        self.fc = nn.Linear(channels, num_classes)
        start_convolutions(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, num_classes)."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(self.pool(self.norm(x).relu()))
