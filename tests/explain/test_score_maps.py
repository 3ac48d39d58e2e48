import math

import pytest
import torch
from torch import Tensor, nn

import saam
from saam.explain import score_maps
from saam.nn import SAAM, ChannelAttention, ScorePool2d, create_attention
from saam.surgery import upgrade


class Attended(nn.Module):
    def __init__(self, module: nn.Module, attention: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(self.module(x))  # type: ignore[no-any-return]


class Fused(ChannelAttention):
    """Computes its output without calling the squeeze, as a fused path does."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.respond(self.squeeze.score_map(x).sum((2, 3)).expand(-1, x.shape[1]))[:, :, None, None]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def scored(channels: int, *, heads: int = 1) -> SAAM:
    attention = SAAM(channels, heads=heads)
    with torch.no_grad():
        attention.squeeze.weight.copy_(random(*attention.squeeze.weight.shape))
    return attention


def test_numbers_worked_by_hand() -> None:
    pool = ScorePool2d(1, temperature=1.0)
    nn.init.constant_(pool.weight, math.log(2))
    # scores log(2) * x, so weights are 2**x / sum: 1, 2, 4, 8 over 15
    maps = score_maps(nn.Sequential(pool), torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]]))
    assert list(maps) == ["0"]
    assert maps["0"].flatten().tolist() == pytest.approx([1 / 15, 2 / 15, 4 / 15, 8 / 15])


def test_sites_shapes_and_inputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("one", Attended(nn.Conv2d(3, 8, 3), scored(8, heads=2)))
    model.add_module("two", nn.Sequential(nn.MaxPool2d(2), scored(8)))
    model.add_module("plain", create_attention("se", 8))
    x = random(4, 3, 9, 7)
    maps = score_maps(model, x)
    assert {site: tuple(m.shape) for site, m in maps.items()} == {"one": (4, 2, 7, 5), "two.1": (4, 1, 3, 2)}
    for m in maps.values():
        torch.testing.assert_close(m.sum((2, 3)), torch.ones(m.shape[:2]))
        assert not m.requires_grad
        assert m.std() > 1e-3
    with torch.no_grad():
        torch.testing.assert_close(maps["one"], model.one.attention.squeeze.score_map(model.one.module(x)))


def test_an_attention_that_bypasses_its_squeeze_is_seen() -> None:
    parts = scored(6)
    fused = Fused(parts.squeeze, parts.excitation, parts.gate)
    x = random(2, 6, 5, 5)
    maps = score_maps(nn.Sequential(fused), x)
    torch.testing.assert_close(maps["0"], parts.squeeze.score_map(x).detach())


def test_the_model_itself_is_a_site() -> None:
    assert list(score_maps(scored(4), random(1, 4, 3, 3))) == ["model"]
    assert list(score_maps(Attended(nn.Identity(), scored(4)), random(1, 4, 3, 3))) == ["model"]


def test_modes_hooks_and_statistics_are_left_as_they_were() -> None:
    model = nn.Sequential(nn.BatchNorm2d(4), scored(4), nn.Dropout(), nn.BatchNorm2d(4).eval())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    score_maps(model, random(2, 4, 3, 3))
    assert [module.training for module in model] == [True, True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match="channels"):
        score_maps(model[1:], random(2, 5, 3, 3))
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_model_without_score_squeeze_is_refused() -> None:
    with pytest.raises(ValueError, match=r"found none in Sequential; attach one, e\.g\. saam\.attach"):
        score_maps(nn.Sequential(create_attention("se", 4)), random(1, 4, 3, 3))


def test_an_upgraded_head_has_the_name_that_the_report_gives_it():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    report = upgrade(model, head=True)
    assert list(score_maps(model, torch.randn(1, 3, 8, 8))) == list(report.sites)


@pytest.mark.parametrize("attention", ["bam-channel", "cbam", "eca"])
def test_a_site_has_one_name_however_the_attention_is_built(attention):
    model, x = saam.create_model("resnet8").eval(), torch.randn(1, 3, 32, 32)
    saam.attach(model, f"{attention},squeeze=score")
    names = {"layer1.0.bn2", "layer2.0.bn2", "layer3.0.bn2"}
    assert saam.score_maps(model, x).keys() == saam.explain.gate_use(model, x).keys() == names


def test_pools_of_a_network_keep_their_names_apart():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.squeeze = saam.SAAM(3), saam.ScorePool2d(3)

        def forward(self, x):
            return self.squeeze(self.attention(x))

    assert saam.score_maps(Two(), torch.randn(1, 3, 4, 4)).keys() == {"model", "squeeze"}
