"""The residual sites of networks that are known beforehand, so that nothing has to run to find them.

The graph of these networks gives the same sites; a test holds the two together.
"""

import re
from collections.abc import Iterator

from torch import nn

__all__ = ["family_sites"]

_BLOCKS: dict[str, dict[str, tuple[str, ...]]] = {
    "saam.models.cifar_resnet.CifarResNet": {"BasicBlock": ("bn2",)},
    "timm.models.resnet.ResNet": {"BasicBlock": ("se", "bn2"), "Bottleneck": ("se", "bn3")},
    "torchvision.models.resnet.ResNet": {"BasicBlock": ("bn2",), "Bottleneck": ("bn3",)},
}


def family_sites(model: nn.Module) -> list[tuple[str, int, int]] | None:
    """Return name, channels and stage of each residual site of a known network; None where nothing is known.

    A network with one block that is not known is not known.
    """
    blocks = _BLOCKS.get(f"{type(model).__module__}.{type(model).__qualname__}")
    if blocks is None:
        return None
    found = []
    for name, block in _stage_blocks(model):
        ends = blocks.get(type(block).__name__) if type(block).__module__ == type(model).__module__ else None
        end = next((key for key in ends or () if getattr(block, key, None) is not None), None)
        channels = getattr(getattr(block, ends[-1], None), "num_features", None) if ends else None
        if end is None or not isinstance(channels, int):
            return None
        found.append((f"{name}.{end}", channels, int(name[len("layer")])))
    return found


def _stage_blocks(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if re.fullmatch(r"layer\d\.\d+", name):
            yield name, module
