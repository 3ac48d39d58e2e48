import pytest
import torch
from torch import nn

from saam.explain import score_maps
from saam.models import create_model, model_card, untrained_parameters
from saam.nn import SAAM
from saam.surgery import detach, new_parameters, upgrade


def test_backbone_weights_depend_on_the_seed_alone() -> None:
    arms = [create_model("resnet8", attention=arm, seed=3) for arm in (None, "none", "se", "saam,heads=2", SAAM)]
    plain = arms[0].state_dict()
    for model in arms[1:]:
        state = model.state_dict()
        assert all(torch.equal(state[key], value) for key, value in plain.items())
    other = create_model("resnet8", seed=4).state_dict()
    assert not torch.equal(other["conv1.weight"], plain["conv1.weight"])


def test_attention_weights_depend_on_the_seed() -> None:
    first, same, other = (create_model("resnet8", attention="se", seed=seed) for seed in (3, 3, 4))
    key = "layer1.0.bn2.attention.excitation.fc1.weight"
    assert torch.equal(first.state_dict()[key], same.state_dict()[key])
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])


def test_attention_weights_are_not_the_backbones_draws_again() -> None:
    """The generator of the attention is another one than that of the backbone, which has the seed itself."""

    torch.manual_seed(3)
    backbones_first = torch.rand(8)
    seen: list[torch.Tensor] = []

    def attention(channels: int) -> nn.Module:
        seen.append(torch.rand(8))
        return nn.Conv2d(channels, channels, 1)

    create_model("resnet8", attention=attention, seed=3)
    assert not torch.equal(seen[0], backbones_first)
    torch.manual_seed(4)  # the global generator has no part in it
    create_model("resnet8", attention=attention, seed=3)
    assert torch.equal(seen[0], seen[len(seen) // 2])


def test_the_global_generator_stays() -> None:
    before = torch.get_rng_state()
    create_model("resnet8", attention="saam", seed=1)
    assert torch.equal(before, torch.get_rng_state())
    create_model("resnet8", attention="saam")
    assert not torch.equal(before, torch.get_rng_state())


def test_attention_options_and_placement() -> None:
    model = create_model("resnet8", attention="saam,heads=4", where="layer3.*.bn2")
    pools = [module.squeeze for module in model.modules() if isinstance(module, SAAM)]
    assert [pool.heads for pool in pools] == [4]


@pytest.mark.parametrize(("start", "gate"), [(None, nn.Sigmoid), ("default", nn.Sigmoid)])
def test_networks_from_scratch_start_as_the_paper_says(start, gate) -> None:
    model = create_model("resnet8", attention="se", start=start)
    assert type(model.layer1[0].bn2.attention.gate) is gate


def test_pretrained_networks_start_as_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    original = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: original(name, **options))
    x = torch.randn(2, 3, 64, 64)
    plain = create_model("timm:test_resnet", pretrained=True, num_classes=4, seed=0).eval()
    model = create_model("timm:test_resnet", pretrained=True, attention="saam", num_classes=4, seed=0).eval()
    for net in (plain, model):
        nn.init.ones_(net.layer1[0].bn2.weight)  # timm starts it at zero, where attention would not show
    assert torch.equal(plain(x), model(x))
    untrained = untrained_parameters(model)
    assert {name for name in untrained if ".attention." not in name} == {"fc.weight", "fc.bias"}
    assert new_parameters(model).keys() == {name for name in untrained if ".attention." in name}
    detach(model)
    assert list(untrained_parameters(model)) == ["fc.weight", "fc.bias"]
    for classes in (16, 32, 64):  # as many as layers of the network have channels
        odd = create_model("timm:test_resnet", pretrained=True, num_classes=classes)
        assert list(untrained_parameters(odd)) == ["fc.weight", "fc.bias"]
    same = create_model("timm:test_resnet", pretrained=True, num_classes=1000)
    assert untrained_parameters(same) == {}


@pytest.mark.parametrize("name", ["resnet8", "timm:test_resnet", "torchvision:resnet18"])
@pytest.mark.parametrize("classes", [0, -1, 2.5, "10", True])
def test_numbers_of_classes(name: str, classes: object) -> None:
    with pytest.raises(ValueError, match=rf"num_classes must be a whole number above 0, or None, got {classes!r};"):
        create_model(name, num_classes=classes)


@pytest.mark.parametrize("seed", [1.5, "1", True])
def test_seeds(seed: object) -> None:
    with pytest.raises(ValueError, match=f"seed must be a whole number, or None, got {seed!r}"):
        create_model("resnet8", seed=seed)


def test_the_head_pools_by_scores_and_starts_as_the_mean() -> None:
    x = torch.randn(2, 3, 32, 32)
    plain = create_model("resnet8", width=8, seed=3)
    scored = create_model("resnet8", width=8, seed=3, head="score,heads=4,temperature=2")
    torch.testing.assert_close(scored.eval()(x), plain.eval()(x))
    (name,) = new_parameters(scored)
    pool = scored.get_submodule(name.removesuffix(".weight"))
    assert (pool.heads, pool.temperature) == (4, 2.0)
    nn.init.normal_(pool.weight)
    assert not torch.allclose(scored(x), plain(x))
    assert list(create_model("resnet8", width=8, head="mean").state_dict()) == list(plain.state_dict())


def test_the_head_of_attended_networks() -> None:
    both = create_model("resnet8", width=8, attention="saam", head="score", seed=3)
    attended = create_model("resnet8", width=8, attention="saam", seed=3)
    assert both.state_dict().keys() - attended.state_dict().keys() == {"pool.squeeze.weight"}
    assert len(score_maps(both, torch.randn(1, 3, 16, 16))) == 4


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("scores", "unknown squeeze 'scores'"),
        ("score,head=4", "the score squeeze has no option 'head'"),
        ("mean+max", "gives 2 statistics per channel; choose one that gives one"),
    ],
)
def test_heads_that_are_none(head: str, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        create_model("resnet8", width=8, head=head)


def test_heads_that_are_no_names() -> None:
    with pytest.raises(TypeError, match=r"head must be the name of a squeeze, .* got True"):
        create_model("resnet8", width=8, head=True)
    with pytest.raises(TypeError, match=r"head must be True or False, got .score.; squeeze= selects"):
        upgrade(create_model("resnet8", width=8), head="score")


def test_card() -> None:
    card = model_card(create_model("resnet8", width=8, attention="se", num_classes=3))
    assert (card.name, card.num_classes, card.options) == ("resnet8", 3, {"width": 8})
    assert model_card(nn.Linear(1, 1)) is None


def test_no_site_for_the_attention() -> None:
    with pytest.raises(ValueError, match=r"no 'residual' site in VGG.*where='stage'"):
        create_model("vgg11_bn", attention="saam")
    create_model("vgg11_bn", attention="saam", where="stage")
