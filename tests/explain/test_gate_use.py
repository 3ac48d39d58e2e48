import math

import pytest
import torch
from torch import Tensor, nn

import saam
from saam.explain import GateUse, gate_factors, gate_use


class Per(nn.Module):
    """Scale each channel by a factor; the first channel of an image by its own mean too."""

    def __init__(self, *factors: float, own: bool = False) -> None:
        super().__init__()
        self.factors, self.own = torch.tensor(factors).view(-1, 1, 1), own

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors * (x.mean((1, 2, 3), keepdim=True) if self.own else 1)


def attended(attention: nn.Module) -> nn.Module:
    model = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.BatchNorm2d(2, affine=False), nn.ReLU())
    nn.init.dirac_(model[0].weight)
    saam.attach(model, lambda channels: attention, where="1", start="default")
    model.train()
    return model


def test_numbers_worked_by_hand() -> None:
    """Channels of equal power, factors 1 and 3: change sqrt((0 + 4) / 2), mean 2, deviation 1 over the channels."""
    x = torch.tensor([1.0, -1.0]).reshape(1, 1, 1, 2).expand(3, 2, 1, 2)
    model = attended(Per(1.0, 3.0))
    use = gate_use(model, x)
    assert list(use) == ["1"]
    assert use["1"] == GateUse(change=round(math.sqrt(2), 6), factor=2.0, channels=1.0, images=0.0)
    assert model.training
    assert model[1].training


def test_factors_that_depend_on_the_image() -> None:
    """Images of ones and of threes are scaled by 1 and 3; the norm's eval mode leaves them as they are."""
    x = torch.cat((torch.ones(1, 2, 2, 2), 3 * torch.ones(1, 2, 2, 2)))
    use = gate_use(attended(Per(1.0, 1.0, own=True)), [x[:1], (x[1:], torch.tensor([0]))])["1"]
    assert use == GateUse(
        change=pytest.approx(1.0, abs=1e-4),
        factor=pytest.approx(2.0, abs=1e-4),
        channels=pytest.approx(0.0, abs=1e-4),
        images=pytest.approx(1.0, abs=1e-4),
    )


def test_factors_of_each_image_and_of_a_map_of_zeros() -> None:
    x = torch.tensor([[1.0, 2.0], [0.0, 2.0]]).reshape(2, 2, 1, 1)
    factors = gate_factors(attended(Per(0.5, -2.0)), x)["1"]
    torch.testing.assert_close(factors, torch.tensor([[0.5, -2.0], [1.0, -2.0]], dtype=torch.float64))


@pytest.mark.parametrize("name", sorted({*saam.list_attentions()} - {"ge", "ge-plus"}))  # these need a size
def test_every_attention_is_found_and_starts_as_the_identity(name: str) -> None:
    model = saam.create_model("resnet8", attention=name, width=16, start="identity", seed=0)
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    use = gate_use(model, x)
    assert use.keys() == {f"layer{stage}.0.bn2" for stage in (1, 2, 3)}
    assert all(each.change < 1e-5 and each.factor == pytest.approx(1, abs=1e-5) for each in use.values())


def test_the_gate_of_a_channel_attention_is_its_factor() -> None:
    model = saam.create_model("resnet8", attention="se", width=8, seed=0)
    x = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    attention = model.layer1[0].bn2.attention
    gates = []
    attention.gate.register_forward_hook(lambda module, inputs, gate: gates.append(gate.detach()))
    with saam.use_backend("eager"):
        factors = gate_factors(model.eval(), x)["layer1.0.bn2"]
    torch.testing.assert_close(factors.float(), gates[0])


def test_attention_that_was_built_in_or_upgraded_is_found() -> None:
    timm = pytest.importorskip("timm")
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    built = timm.create_model("resnet10t", block_args={"attn_layer": saam.SAAM}, num_classes=3).eval()
    assert len(gate_use(built, x)) == 4
    upgraded = timm.create_model("seresnet18", num_classes=3).eval()
    saam.upgrade(upgraded)
    assert len(gate_use(upgraded, x)) == 8


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a model with attention, found none in CifarResNet"):
        gate_use(saam.create_model("resnet8", width=8), torch.randn(1, 3, 8, 8))
    with pytest.raises(ValueError, match="expected images to run the model on, got none"):
        gate_use(saam.create_model("resnet8", attention="se", width=8), [])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_maps_that_are_not_finite_are_refused(value: float) -> None:
    x = torch.ones(2, 2, 2, 2)
    with pytest.raises(ValueError, match="the feature map at site '1' is not finite"):
        gate_use(attended(Per(1.0, value)), x)
    x[1, 0, 0, 0] = value
    with pytest.raises(ValueError, match="the feature map at site '1' is not finite"):
        gate_factors(attended(Per(1.0, 1.0)), x)
