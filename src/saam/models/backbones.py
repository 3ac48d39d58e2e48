"""Backbones by name: those of this library, of timm and of torchvision."""

import inspect
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from torch import nn

from saam._core.errors import hinted
from saam._core.options import require_options
from saam.models.cifar_densenet import DenseNetBC
from saam.models.cifar_mobilenet import MobileNetV2
from saam.models.cifar_preresnet import PreActivationResNet
from saam.models.cifar_resnet import CifarResNet
from saam.models.cifar_resnext import ResNeXt29
from saam.models.cifar_vgg import VGG

__all__ = ["build_backbone", "list_models", "published_colours"]

_Colour = tuple[float, float, float]  # red, green, blue

_BUILDERS: dict[str, tuple[Callable[..., nn.Module], tuple[str, ...]]] = {
    r"resnet(\d+)": (CifarResNet, ("resnet8", "resnet14", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110")),
    r"preresnet(\d+)": (PreActivationResNet, ("preresnet20", "preresnet56", "preresnet110")),
    r"wrn(\d+)_(\d+)": (
        PreActivationResNet,
        ("wrn16_8", "wrn28_10", "wrn40_2", "wrn40_4"),
    ),
    r"resnext29_(\d+)x(\d+)d": (ResNeXt29, ("resnext29_8x64d", "resnext29_16x64d", "resnext29_32x4d")),
    r"vgg(\d+)_bn": (VGG, ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")),
    r"densenet(\d+)_(\d+)": (
        DenseNetBC,
        ("densenet100_12", "densenet190_40"),
    ),
    r"mobilenetv2": (MobileNetV2, ("mobilenetv2",)),
}


def list_models() -> list[str]:
    """Return the backbones of this library. Families such as ``resnet`` and ``wrn`` accept other numbers as well.

    Example:
        >>> "wrn28_10" in list_models()
        True
    """
    return [name for _, names in _BUILDERS.values() for name in names]


def build_backbone(name: str, *, num_classes: int | None, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """Build a backbone without attention, see :func:`saam.create_model`.

    Raises:
        ValueError: If the name is unknown, or there are no pretrained weights.
        TypeError: If the backbone has no such option.
        ModuleNotFoundError: If timm or torchvision is required and not installed.
    """
    source, colon, rest = name.partition(":")
    if colon and source == "timm":
        return _timm(rest, num_classes, pretrained, options)
    if colon and source == "torchvision":
        return _torchvision(rest, num_classes, pretrained, options)
    for pattern, (build, _) in _BUILDERS.items():
        numbers = re.fullmatch(pattern, name)
        if numbers:
            if pretrained:
                raise ValueError(f"there are no pretrained weights of {name!r}; use a timm: or torchvision: network")
            require_options(f"model {name!r}", build, options, but=["num_classes"])
            return build(*map(int, numbers.groups()), num_classes=10 if num_classes is None else num_classes, **options)
    listed = f"known: {', '.join(list_models())}, the same with other numbers, timm:NAME and torchvision:NAME"
    raise ValueError(hinted(f"unknown model {name!r}", name, list_models(), listed))


def published_colours(name: str) -> tuple[_Colour, _Colour] | None:
    """Return the means and standard deviations of red, green and blue, in 0..1, that published weights expect.

    Args:
        name: As for :func:`build_backbone`.

    Returns:
        None for a network without published weights, or one whose weights do not say.
    """
    source, _, rest = name.partition(":")
    if source == "timm":
        from timm.models import get_pretrained_cfg

        found = get_pretrained_cfg(rest)
    elif source == "torchvision":
        from torchvision.models import get_model_weights

        found = get_model_weights(rest)["DEFAULT"].transforms()
    else:
        return None
    mean, std = getattr(found, "mean", None), getattr(found, "std", None)
    if not mean or not std or len(mean) != 3 or len(std) != 3:
        return None
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def _timm(name: str, num_classes: int | None, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"timm:{name} needs timm: pip install 'saam[models]'") from error
    if not timm.is_model(name.partition(".")[0]):
        raise _unknown_elsewhere("timm", name, timm.list_models())
    if num_classes is not None:
        options = {**options, "num_classes": num_classes}
    with _fetching(f"timm:{name}", pretrained=pretrained):
        return timm.create_model(name, pretrained=pretrained, **options)


def _torchvision(name: str, num_classes: int | None, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    try:
        from torchvision import models
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"torchvision:{name} needs torchvision: pip install 'saam[models]'") from error
    if name not in models.list_models():
        raise _unknown_elsewhere("torchvision", name, models.list_models())
    if not pretrained:
        classes = {} if num_classes is None else {"num_classes": num_classes}
        if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
            options = {"weights_backbone": None, **options}  # the builder downloads them by default
        return models.get_model(name, **classes, **options)
    with _fetching(f"torchvision:{name}", pretrained=pretrained):
        model = models.get_model(name, weights="DEFAULT", **options)
    if num_classes is not None:
        _replace_classifiers(model, num_classes)
    return model


@contextmanager
def _fetching(name: str, *, pretrained: bool) -> Iterator[None]:
    """Report in one line, after a single attempt, that published weights cannot be downloaded.

    Raises:
        OSError: If there is no connection, or not enough disk space.
    """
    if not pretrained:
        yield
        return
    try:
        with _one_try():
            yield
    except OSError as error:  # the errors of urllib and of huggingface_hub
        reason = " ".join(str(error).split())[:100]
        raise OSError(
            f"cannot fetch the published weights of {name} ({type(error).__name__}: {reason}): connect to the "
            "internet, copy the cache of a machine that has them, or leave out pretrained"
        ) from error


@contextmanager
def _one_try() -> Iterator[None]:
    """Keep huggingface_hub from retrying for a minute: without a network, try each host only once."""
    try:
        from huggingface_hub import constants
    except ModuleNotFoundError:
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _connected(urlparse(constants.ENDPOINT).hostname or "")
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _connected(host: str, *, seconds: float = 3.0) -> bool:
    """Return whether a host, or the proxy that leads to it, can be reached."""
    if getproxies():
        return True
    try:
        with socket.create_connection((host, 443), seconds):
            return True
    except OSError:
        return False


def _replace_classifiers(model: nn.Module, num_classes: int) -> None:
    """Replace every layer that ends in the 1000 classes of ImageNet."""
    for parent in list(model.modules()):
        for key, layer in list(parent.named_children()):
            if isinstance(layer, nn.Linear) and layer.out_features == 1000:
                setattr(parent, key, nn.Linear(layer.in_features, num_classes, bias=layer.bias is not None))
            elif isinstance(layer, nn.Conv2d) and layer.out_channels == 1000 and layer.kernel_size == (1, 1):
                setattr(parent, key, nn.Conv2d(layer.in_channels, num_classes, 1))


def _unknown_elsewhere(source: str, name: str, known: list[str]) -> ValueError:
    return ValueError(hinted(f"unknown model {name!r} of {source}", name, known, f"see {source}'s list_models()"))
