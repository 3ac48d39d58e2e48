import copy
import importlib
from functools import partial

import pytest
import timm
import torch
from timm import layers
from timm.layers import cbam
from timm.models._efficientnet_blocks import SqueezeExcite
from timm.models.hgnet import EseModule
from timm.models.senet import SEModule as SENetModule
from torch import Tensor, nn
from torchvision.ops.misc import SqueezeExcitation

import saam
from saam.models import create_model
from saam.nn import ScorePool2d
from saam.surgery import attach, detach, new_parameters, upgrade
from saam.surgery.adapters import Upgraded, UpgradedPool

X = torch.randn(2, 3, 48, 40, generator=torch.Generator().manual_seed(3))

MODULES = {
    "SEModule": lambda: layers.SEModule(16),
    "SEModule with norm": lambda: layers.SEModule(16, norm_layer=nn.BatchNorm2d),
    "SEModule with max": lambda: layers.SEModule(16, add_maxpool=True),
    "EffectiveSE": lambda: layers.EffectiveSEModule(16),
    "Eca": lambda: layers.EcaModule(16),
    "Eca with MLP": lambda: layers.EcaModule(16, use_mlp=True),
    "Ceca": lambda: layers.CecaModule(16),
    "Cbam": lambda: cbam.CbamModule(16),
    "light Cbam": lambda: cbam.LightCbamModule(16),
    "GlobalContext": lambda: layers.GlobalContext(16),
    "GlobalContext of the mean": lambda: layers.GlobalContext(16, use_attn=False),
    "GlobalContext that adds": lambda: layers.GlobalContext(16, fuse_add=True, fuse_scale=False),
    "SqueezeExcite": lambda: SqueezeExcite(16),
    "hard SqueezeExcite": lambda: SqueezeExcite(16, gate_layer=nn.Hardsigmoid),
    "ESE of HGNet": lambda: EseModule(16),
    "SE of SENet": lambda: SENetModule(16, 4),
    "torchvision": lambda: SqueezeExcitation(16, 4),
    "hard torchvision": lambda: SqueezeExcitation(16, 4, scale_activation=nn.Hardsigmoid),
}


class Net(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.conv, self.attention, self.pool = nn.Conv2d(3, 16, 3), attention, nn.AdaptiveAvgPool2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.attention(self.conv(x))).flatten(1)


def shaken(model: nn.Module) -> nn.Module:
    """Give a network weights and statistics that differ from their starts."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape, generator=generator) * 0.3)
    return model.eval()


def outputs(model: nn.Module, x: Tensor = X) -> Tensor:
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_keeps_function_weights_and_keys(name: str) -> None:
    model = shaken(Net(MODULES[name]()))
    keys, state, before = list(model.state_dict()), copy.deepcopy(model.state_dict()), outputs(model)
    report = upgrade(model, example=X)
    assert len(report.changes) == 1
    torch.testing.assert_close(outputs(model), before, rtol=1e-5, atol=1e-5)
    assert report.preserved is True
    upgraded = model.state_dict()
    assert [key for key in upgraded if ".squeeze." not in key] == keys
    assert all(torch.equal(upgraded[key], state[key]) for key in keys)
    assert model.load_state_dict(state, strict=False).unexpected_keys == []
    model.load_state_dict(upgraded)
    detach(model)
    assert list(model.state_dict()) == keys
    assert torch.equal(outputs(model), before)


@pytest.mark.parametrize("name", [name for name in MODULES if name != "GlobalContext" and "adds" not in name])
def test_the_score_takes_the_place_of_the_mean(name: str) -> None:
    """A scorer that picks one pixel makes the module see that pixel: as the module itself on a map of it alone."""
    model = shaken(Net(MODULES[name]()))
    attention = copy.deepcopy(model.attention)
    upgrade(model, example=X)
    pool = next(module for module in model.modules() if isinstance(module, ScorePool2d))
    with torch.no_grad():
        pool.weight.zero_()[:, 0] = 1e4
    x = torch.randn(1, 16, 5, 4).abs() * 0.1
    x[0, :, 2, 1] = 3.0
    expected = attention(x[:, :, 2:3, 1:2]) / x[:, :, 2:3, 1:2]
    got = model.attention(x)[:, :, 2, 1] / x[:, :, 2, 1]
    if "Cbam" in name:
        part = model.attention.channel
        torch.testing.assert_close(part(x)[:, :, 2, 1], attention.channel(x[:, :, 2:3, 1:2])[:, :, 0, 0])
    else:
        torch.testing.assert_close(got, expected[:, :, 0, 0])
    assert not torch.allclose(model.attention(x), attention(x))


def test_scores_that_are_there_are_kept() -> None:
    model = shaken(Net(layers.GlobalContext(16)))
    report = upgrade(model)
    pool = next(module for module in model.modules() if isinstance(module, ScorePool2d))
    assert pool.weight is model.attention.conv_attn.weight
    assert report.parameters == 0
    assert new_parameters(model) == {}
    maps = pool.score_map(torch.randn(2, 16, 4, 5))
    assert float(maps.detach().std()) > 1e-3


def test_own_modules_and_attached_ones() -> None:
    model = create_model("resnet8", attention="se", seed=0, start="default").eval()
    before = outputs(model)
    report = upgrade(model, heads=2, example=X)
    assert [change.site for change in report.changes] == [f"layer{i}.0.bn2.attention" for i in (1, 2, 3)]
    assert report.parameters == 2 * (16 + 32 + 64)
    torch.testing.assert_close(outputs(model), before, rtol=1e-5, atol=1e-5)
    assert "layer1.0.bn2.attention.squeeze.weight" in model.state_dict()
    assert len(new_parameters(model)) == 3 * 5
    report = detach(model)
    assert list(model.state_dict()) == list(create_model("resnet8").state_dict())


def test_upgrading_again_changes_nothing() -> None:
    model = timm.create_model("test_efficientnet_ln")
    first = upgrade(model, head=True)
    again = upgrade(model, head=True)
    assert len(first.changes) > 2
    assert again.changes == ()
    assert [name for name, _ in again.left] == list(first.sites)
    assert {reason for _, reason in again.left} == {"it is already upgraded"}


def test_upgrading_in_another_way_is_refused() -> None:
    model = Net(layers.SEModule(16))
    upgrade(model, head=True)
    refused("'attention' is already upgraded, with squeeze='score' and the options {}: .*detach", model, heads=2)
    refused("'attention' is already upgraded", model, squeeze="max")
    refused("'pool' is already upgraded", model, squeeze="max", head=True, where=[])


def test_patterns_choose_modules() -> None:
    model = create_model("resnet8", attention="se")
    assert upgrade(model, where="layer1.0.bn2.attention").sites == ("layer1.0.bn2.attention",)
    assert upgrade(model, where="layer[23].*").sites == ("layer2.0.bn2.attention", "layer3.0.bn2.attention")


def test_fx_calls_upgraded_modules_whole() -> None:
    model = shaken(create_model("timm:test_efficientnet", num_classes=3))
    upgrade(model, head=True)
    traced = torch.fx.symbolic_trace(model)
    torch.testing.assert_close(outputs(traced), outputs(model))


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_convnext", "torchvision:resnet18", "resnet8"])
def test_head(name: str) -> None:
    model = shaken(create_model(name, num_classes=5))
    x = torch.randn(2, 3, 64, 64)
    keys, before = list(model.state_dict()), outputs(model, x)
    report = upgrade(model, head=True, example=x)
    assert isinstance(model.get_submodule(report.sites[-1]), UpgradedPool)
    torch.testing.assert_close(outputs(model, x), before, rtol=1e-4, atol=1e-4)
    optimizer = torch.optim.SGD(new_parameters(model).values(), lr=100.0)
    model(x).square().sum().backward()
    optimizer.step()
    assert not torch.allclose(outputs(model, x), before, rtol=1e-4, atol=1e-4)
    detach(model)
    assert list(model.state_dict()) == keys
    assert torch.equal(outputs(model, x), before)


def test_head_after_attention_at_it() -> None:
    model = create_model("resnet8", seed=0).eval()
    before = outputs(model)
    attach(model, "saam", where="head")
    upgrade(model, head=True, where=[])
    torch.testing.assert_close(outputs(model), before, rtol=1e-5, atol=1e-5)
    assert [change.action for change in detach(model).changes] == ["- saam", "GlobalMean: - squeeze ScorePool2d"]


def test_training_reaches_the_scorer_at_once() -> None:
    model = shaken(Net(layers.SEModule(16))).train()
    upgrade(model)
    model(X).square().sum().backward()
    assert all(bool(parameter.grad.any()) for parameter in new_parameters(model).values())
    assert len(new_parameters(model)) == 1


def test_other_squeezes() -> None:
    model = Net(layers.SEModule(16))
    upgrade(model, squeeze=partial(ScorePool2d, heads=4))
    assert model.attention.squeeze.heads == 4
    detach(model)
    upgrade(model, squeeze="max")
    assert type(model.attention.squeeze).__name__ == "Max"


def refused(message: str, model: nn.Module, error: type[Exception] = ValueError, **options: object) -> None:
    before = list(model.modules())
    with pytest.raises(error, match=message):
        upgrade(model, **options)
    assert list(model.modules()) == before


def test_errors_leave_the_network_untouched() -> None:
    refused("no attention to upgrade in CifarResNet: .*attach", create_model("resnet8"))
    refused("heads must divide", Net(layers.SEModule(16)), heads=5)
    refused("score squeeze has no option 'hads': did you mean 'heads'", Net(layers.SEModule(16)), TypeError, hads=5)
    refused("unknown attention module 'l': known: attention", Net(layers.SEModule(16)), where="l")
    refused("no attention to upgrade", create_model("resnet8"), where="layer1")
    refused("heads belong to squeeze='score'", Net(layers.SEModule(16)), squeeze="max", heads=2)
    refused("gives 2 statistics per channel", Net(layers.SEModule(16)), squeeze="mean+std")
    refused("unknown attention module 'layer1': known: attention", Net(layers.SEModule(16)), where=["layer1"])
    refused("pools in a function of its own", create_model("torchvision:mnasnet0_5"), head=True)
    refused("no global pooling", Net(layers.SEModule(16)).conv, head=True)


def test_what_is_left_alone_is_said() -> None:
    model = create_model("resnet8", attention="saam")
    report = upgrade(model)
    assert report.changes == ()
    assert report.left[0] == ("layer1.0.bn2.attention", "it already has a score squeeze")
    assert str(report).splitlines()[1:] == [
        "total  0 sites  +0",
        "left alone: 3 sites, layer1.0.bn2.attention to layer3.0.bn2.attention: it already has a score squeeze",
    ]
    assert str(upgrade(model, where="layer1.*")).endswith(
        "left alone: layer1.0.bn2.attention: it already has a score squeeze"
    )
    model = create_model("resnet8", attention="srm")
    assert upgrade(model).left[0][1] == "its squeeze, MeanStd, is not a mean"


def test_upgraded_stands_in_for_its_module() -> None:
    model = Net(layers.SEModule(16))
    module = model.attention
    upgrade(model)
    assert isinstance(model.attention, Upgraded)
    assert model.attention.fc1 is module.fc1
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = model.attention.nothing_like_it


def test_copies_of_an_upgraded_network_work_alone() -> None:
    model = shaken(create_model("timm:test_efficientnet", num_classes=3))
    upgrade(model, head=True)
    other = copy.deepcopy(model)
    expected = outputs(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1.0)
    assert torch.equal(outputs(model), expected)
    detach(other)
    assert other.state_dict().keys() == create_model("timm:test_efficientnet", num_classes=3).state_dict().keys()


def test_what_detach_reports_mirrors_what_upgrade_reported() -> None:
    model = create_model("timm:seresnet18")
    there, back = upgrade(model, head=True), detach(model)
    assert [(c.site, c.channels, -c.parameters) for c in back.changes] == [
        (c.site, c.channels, c.parameters) for c in there.changes
    ]
    assert all(c.channels for c in back.changes)
    assert back.changes[0].action == "SEModule: - squeeze ScorePool2d"


def test_attention_with_a_forward_of_its_own_is_left_alone():
    class Residual(saam.nn.ChannelAttention):
        def forward(self, x):
            return x + super().forward(x)

    class Centre(saam.nn.squeeze.Mean):
        def forward(self, x):
            return x[:, :, 1:-1, 1:-1].mean((2, 3))

    def network(attention):
        return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), attention, torch.nn.AdaptiveAvgPool2d(1))

    parts = saam.nn.BottleneckMLP(8, 4), torch.nn.Sigmoid()
    with pytest.raises(ValueError, match="no attention to upgrade"):
        saam.upgrade(network(Residual(saam.nn.squeeze.Mean(), *parts)))
    report = saam.upgrade(network(saam.nn.ChannelAttention(Centre(), *parts)), example=torch.randn(1, 3, 9, 9))
    assert report.changes == ()
    assert report.left == (("1", "its squeeze, Centre, is not a mean"),)


def test_a_network_that_does_not_run_with_the_squeeze_stays_as_it_was():
    model = saam.create_model("resnet8", attention="se")
    keys = [*model.state_dict()]
    with pytest.raises(Exception, match="statistics"):
        saam.upgrade(
            model,
            squeeze=lambda _: torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1)),
            example=torch.randn(1, 3, 16, 16),
        )
    assert [*model.state_dict()] == keys
    model(torch.randn(1, 3, 16, 16))


def test_a_new_squeeze_is_in_the_mode_of_the_network():
    def scorer(channels):
        return torch.nn.Sequential(torch.nn.BatchNorm2d(channels), torch.nn.Conv2d(channels, 1, 1))

    for model in (saam.create_model("resnet8", attention="se").eval(), Net(layers.SEModule(16)).eval()):
        saam.upgrade(model, scorer=scorer, head=True)
        assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("name", ["SEModule", "Cbam", "GlobalContext", "torchvision"])
def test_a_replica_of_data_parallel_uses_its_own_weights(name, monkeypatch):
    code = importlib.import_module("torch.nn.parallel.replicate")
    monkeypatch.setattr(code, "_get_device_index", lambda device, _: device)
    monkeypatch.setattr(
        code, "_broadcast_coalesced_reshape", lambda tensors, *_, **__: [[torch.zeros_like(t) for t in tensors]]
    )
    network = nn.Sequential(MODULES[name]()).eval()
    upgrade(network)
    x = torch.randn(2, 16, 6, 5)
    (twin,) = code.replicate(network, ["cpu"])
    with saam.use_backend("eager"):
        found = twin(x)
        for parameter in network.parameters():
            nn.init.zeros_(parameter)
        torch.testing.assert_close(found, network(x))
