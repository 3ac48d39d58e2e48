import pytest
import torch
from torch import nn

from saam.explain import grad_cam, integrated_gradients
from saam.explain.attribution import last_map
from saam.models import create_model


class Linear(nn.Module):
    """Two feature maps, their means, and a linear classifier: everything is known by hand."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(1, 2, 1, bias=False)
        self.classifier = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
            self.classifier.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))

    def forward(self, x):
        return self.classifier(self.maps(x).mean((2, 3)))


X = torch.tensor([[1.0, 3.0], [-2.0, 0.0]]).view(1, 1, 2, 2)


@pytest.mark.parametrize(("label", "expected"), [(0, [[0.25, 0.75], [0, 0]]), (1, [[0, 0], [1, 0]])])
def test_grad_cam_by_hand(label, expected):
    found = grad_cam(Linear(), X, torch.tensor([label]))
    assert found.shape == (1, 1, 2, 2)
    assert found[0, 0].tolist() == expected


def test_integrated_gradients_of_a_linear_network_are_its_products():
    found = integrated_gradients(Linear(), X, torch.tensor([0]))
    assert found[0, 0].flatten().tolist() == pytest.approx([1 / 6, 3 / 6, 2 / 6, 0])


def test_a_map_without_positive_values_is_uniform():
    assert grad_cam(Linear(), -X.abs(), torch.tensor([0])).flatten().tolist() == [0.25] * 4


@pytest.mark.parametrize("method", [grad_cam, integrated_gradients])
def test_network_and_input_are_left_as_they_were(method):
    model = create_model("resnet8", attention="saam", width=8, num_classes=3).train()
    model.requires_grad_(False)
    x = torch.randn(2, 3, 16, 16)
    maps = method(model, x, torch.tensor([0, 2]))
    assert maps.sum((2, 3)).flatten().tolist() == pytest.approx([1, 1], abs=1e-5)
    assert all(module.training for module in model.modules())
    assert not x.requires_grad
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules() if type(module).__module__.startswith("torch"))


def test_the_last_map_is_the_one_before_the_pooling():
    model = create_model("resnet8", width=8)
    assert last_map(model, torch.randn(1, 3, 32, 32)) is model.layer3
    with pytest.raises(ValueError, match="expected a network with a feature map"):
        last_map(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.randn(1, 3, 2, 2))
