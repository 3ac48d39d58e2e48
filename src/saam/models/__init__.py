"""Networks: CIFAR backbones, and one factory for all."""

from saam.models.cifar_resnet import CifarResNet
from saam.models.factory import create_model

__all__ = ["CifarResNet", "create_model"]
