"""Networks: CIFAR backbones, one factory for all networks, and saving them with their surgery."""

from saam.models.backbones import list_models, published_colours
from saam.models.cifar_densenet import DenseNetBC
from saam.models.cifar_mobilenet import MobileNetV2
from saam.models.cifar_preresnet import PreActivationResNet
from saam.models.cifar_resnet import CifarResNet
from saam.models.cifar_resnext import ResNeXt29
from saam.models.cifar_vgg import VGG
from saam.models.factory import ModelCard, create_model, model_card, untrained_parameters
from saam.models.preprocessing import Preprocessing, preprocessing_of, require_preprocessing
from saam.models.saving import describe, load, rebuild, save

__all__ = [
    "VGG",
    "CifarResNet",
    "DenseNetBC",
    "MobileNetV2",
    "ModelCard",
    "PreActivationResNet",
    "Preprocessing",
    "ResNeXt29",
    "create_model",
    "describe",
    "list_models",
    "load",
    "model_card",
    "preprocessing_of",
    "published_colours",
    "rebuild",
    "require_preprocessing",
    "save",
    "untrained_parameters",
]
