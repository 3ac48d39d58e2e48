import pytest
import torch
from torch import nn

from saam.training import parameter_groups


class Scale(nn.Module):
    """Two kernels of several dimensions, one without decay by timm's convention."""

    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.randn(4, 1, 1))
        self.kernel = nn.Parameter(torch.randn(4, 4, 1))
        self.bias = nn.Parameter(torch.randn(4, 1, 1))

    def no_weight_decay(self):
        return {"gamma"}


def build():
    return nn.ModuleDict(
        {
            "conv": nn.Conv2d(3, 4, 3),
            "batch": nn.BatchNorm2d(4),
            "layer": nn.LayerNorm([4, 5]),
            "rms": nn.RMSNorm([4, 5]),
            "scale": Scale(),
            "head": nn.Linear(4, 2),
        }
    )


def names(model, parameters):
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    return {by_id[id(parameter)] for parameter in parameters}


def test_decay_falls_on_kernels_and_matrices_only():
    model = build()
    groups = parameter_groups(model, weight_decay=0.01)
    decays = {group["weight_decay"]: names(model, group["params"]) for group in groups}
    assert decays == {
        0.01: {"conv.weight", "scale.kernel", "head.weight"},
        0.0: {
            "conv.bias", "batch.weight", "batch.bias", "layer.weight", "layer.bias", "rms.weight",
            "scale.gamma", "scale.bias", "head.bias",
        },
    }  # fmt: skip
    assert {group["factor"] for group in groups} == {1.0}


def test_convention_of_the_model_itself():
    model = Scale()
    decays = {g["weight_decay"]: names(model, g["params"]) for g in parameter_groups(model, weight_decay=0.1)}
    assert decays == {0.1: {"kernel"}, 0.0: {"gamma", "bias"}}


def test_new_parameters_have_their_factor_and_keep_their_decay():
    model = build()
    new = {"head.weight", "head.bias"}
    groups = parameter_groups(model, weight_decay=0.01, new_parameters=new, new_parameters_factor=10.0)
    fast = [(group["weight_decay"], names(model, group["params"])) for group in groups if group["factor"] == 10]
    assert sorted(fast) == [(0.0, {"head.bias"}), (0.01, {"head.weight"})]
    assert {group["factor"] for group in groups} == {1.0, 10.0}


def test_frozen_parameters_stay_out():
    model = build()
    model["conv"].requires_grad_(False)
    trained = [parameter for group in parameter_groups(model, weight_decay=0.01) for parameter in group["params"]]
    assert names(model, trained) == {n for n, _ in model.named_parameters() if not n.startswith("conv.")}
    assert len(trained) == len({id(parameter) for parameter in trained})


def test_bad_arguments():
    with pytest.raises(ValueError, match=r"unknown new parameter 'head.wieght': did you mean 'head.weight'"):
        parameter_groups(build(), weight_decay=0.0, new_parameters=["head.wieght"])
    with pytest.raises(ValueError, match="expected a model with parameters to train, got none"):
        parameter_groups(build().requires_grad_(False), weight_decay=0.0)
