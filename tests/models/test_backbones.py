import pytest
import torch

from saam.models import create_model, list_models, published_colours
from saam.models.backbones import build_backbone
from saam.surgery import attach, sites

PUBLISHED = {
    "resnet20": 272_474,
    "resnet56": 855_770,
    "resnet110": 1_730_714,
    "preresnet20": 272_282,
    "preresnet110": 1_730_522,
    "wrn16_8": 10_961_370,
    "wrn28_10": 36_479_194,
    "wrn40_2": 2_243_546,
    "resnext29_8x64d": 34_426_698,
    "resnext29_16x64d": 68_155_210,
    "resnext29_32x4d": 4_775_754,
    "vgg16_bn": 14_728_266,
    "vgg19_bn": 20_040_522,
    "densenet100_12": 769_162,
    "densenet190_40": 25_624_430,
    "mobilenetv2": 2_236_682,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_published_parameter_counts(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create_model(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


@pytest.mark.parametrize("name", list_models())
def test_every_listed_model_takes_small_images(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name, num_classes=7)
        logits = model(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "count", "end"),
    [
        ("resnet20", 9, "bn2"),
        ("preresnet20", 9, "conv2"),
        ("wrn16_2", 6, "conv2"),
        ("resnext29_2x4d", 9, "bn3"),
        ("densenet40_12", 18, "conv2"),
        ("mobilenetv2", 10, "bn3"),
    ],
)
def test_branches_end_where_the_files_say(name: str, count: int, end: str) -> None:
    found = sites(create_model(name), "residual")
    assert len(found) == count
    assert {site.name.rpartition(".")[2] for site in found} == {end}


def test_vgg_has_stages() -> None:
    assert [site.channels for site in sites(create_model("vgg16_bn"), "stage")] == [64, 128, 256, 512, 512]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet8", {"width": (4, 6, 8), "stem_stride": 2, "in_channels": 1}),
        ("preresnet8", {"dropout": 0.5, "stem_stride": 2, "in_channels": 1}),
        ("wrn10_2", {"dropout": 0.5, "stem_stride": 2, "in_channels": 1}),
        ("resnext29_2x4d", {"stem_stride": 2, "in_channels": 1}),
        ("densenet10_4", {"stem_stride": 2, "in_channels": 1}),
        ("vgg11_bn", {"in_channels": 1}),
        ("mobilenetv2", {"in_channels": 1}),
    ],
)
def test_options_are_obeyed(name: str, options: dict[str, object]) -> None:
    model, plain = create_model(name, seed=0, **options), create_model(name, seed=0)
    x = torch.randn(2, 1, 32, 32)
    assert model(x).shape == (2, 10)
    first, usual = (next(m for m in net.modules() if isinstance(m, torch.nn.Conv2d)) for net in (model, plain))
    assert first.in_channels == 1
    assert first.stride == ((2, 2) if "stem_stride" in options else usual.stride)
    if "dropout" in options:
        assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize("name", ["resnet9", "preresnet21", "wrn28_0", "vgg12_bn", "densenet41_12"])
def test_impossible_numbers(name: str) -> None:
    with pytest.raises(ValueError, match=r"layers|6n\+2|6n\+4"):
        create_model(name)


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'resnet_20': did you mean 'resnet20'.*timm:NAME"):
        create_model("resnet_20")
    with pytest.raises(ValueError, match="unknown model 'resnet5' of timm: did you mean"):
        create_model("timm:resnet5")
    with pytest.raises(ValueError, match="unknown model 'resnet5' of torchvision: did you mean"):
        create_model("torchvision:resnet5")
    with pytest.raises(ValueError, match="unknown model 'keras:resnet50'"):
        create_model("keras:resnet50")


def test_unknown_options() -> None:
    with pytest.raises(TypeError, match="model 'resnet8' has no option 'widths': did you mean 'width'"):
        create_model("resnet8", widths=3)
    with pytest.raises(TypeError, match=r"model 'wrn16_2' has no option 'widen'.*it takes dropout, stem_stride"):
        create_model("wrn16_2", widen=3)


def test_no_pretrained_weights_of_small_networks() -> None:
    with pytest.raises(ValueError, match="no pretrained weights of 'resnet20'"):
        create_model("resnet20", pretrained=True)


def test_networks_of_timm_and_torchvision() -> None:
    timm = create_model("timm:test_resnet", num_classes=3, in_chans=1)
    assert timm(torch.randn(2, 1, 32, 32)).shape == (2, 3)
    assert create_model("timm:test_resnet").num_classes == 1000
    torchvision = create_model("torchvision:resnet18", num_classes=3)
    assert torchvision(torch.randn(2, 3, 32, 32)).shape == (2, 3)
    assert create_model("torchvision:resnet18").fc.out_features == 1000


def test_published_weights_say_which_colours_they_expect() -> None:
    imagenet = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    assert published_colours("timm:resnet18") == published_colours("torchvision:resnet18") == imagenet
    assert published_colours("timm:vit_base_patch16_224.augreg_in21k") == ((0.5,) * 3, (0.5,) * 3)
    for name in ("resnet20", "timm:no_such_network", "mine:Network"):
        assert published_colours(name) is None


def test_new_classes_for_pretrained_networks_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision import models

    asked = {}

    def fake(name: str, weights: str | None = None, **options: object) -> torch.nn.Module:
        asked[name] = weights
        return getattr(models, name)(**options)

    monkeypatch.setattr(models, "get_model", fake)
    for name in ("resnet18", "squeezenet1_1", "mobilenet_v3_small"):
        model = build_backbone(f"torchvision:{name}", num_classes=3, pretrained=True, options={}).eval()
        assert asked[name] == "DEFAULT"
        assert model(torch.randn(2, 3, 64, 64)).shape == (2, 3)


def test_attention_in_the_networks_of_the_papers() -> None:
    model = create_model("resnet110")
    assert attach(model, "se").parameters == 14_238
    assert sum(p.numel() for p in create_model("resnet20", attention="se").parameters()) == 274_847


@pytest.mark.parametrize("name", ["preresnet22", "wrn20_2", "preresnet9"])
def test_depths_that_no_such_network_has(name: str) -> None:
    with pytest.raises(ValueError, match=r"a PreResNet has 6n\+2 layers"):
        create_model(name)
