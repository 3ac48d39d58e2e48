import pytest
import torch
from torch import Tensor, nn

from saam.models import create_model
from saam.nn import create_attention
from saam.surgery import Site, attach, sites, upgrade


class Block(nn.Module):
    """A residual block whose branch ends in functions: layer scale, a ReLU without a module, stochastic depth."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.norm(self.conv(x)) * self.scale).relu()


class Net(nn.Module):
    """Two stages of two blocks each, with a projection between them; its names say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Sequential(Block(8), Block(8))
        self.c = nn.Conv2d(8, 16, 3, 2, 1)
        self.d = nn.ModuleList([Block(16), Block(16)])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(self.b(self.a(x)))
        for block in self.d:
            x = block(x)
        return self.head(self.pool(x).flatten(1))


def names(found: tuple[Site, ...]) -> list[str]:
    return [site.name for site in found]


def test_residual_sites_of_an_unseen_network() -> None:
    found = sites(Net(), "residual")
    assert names(found) == ["b.0.norm", "b.1.norm", "d.0.norm", "d.1.norm"]
    assert [site.channels for site in found] == [8, 8, 16, 16]
    assert [site.stage for site in found] == [1, 1, 2, 2]
    assert {site.position for site in found} == {"after"}


def test_all_kinds() -> None:
    found = sites(Net())
    by_kind = {kind: [s.name for s in found if s.kind == kind] for kind in ("stage", "conv", "attention", "head")}
    assert by_kind == {
        "stage": ["b.1", "d.1"],
        "conv": ["a", "b.0.norm", "b.1.norm", "c", "d.0.norm", "d.1.norm"],
        "attention": [],
        "head": ["pool"],
    }
    assert [site.position for site in found if site.kind == "head"] == ["before"]


def test_example_gives_the_sizes() -> None:
    found = sites(Net(), "residual", example=torch.randn(1, 3, 20, 12))
    assert [site.size for site in found] == [(20, 12), (20, 12), (10, 6), (10, 6)]


def test_projection_shortcut_is_not_the_branch() -> None:
    class Projected(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.short = nn.Conv2d(3, 4, 1)
            self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.short(x) + self.last(self.first(x).relu())

    assert names(sites(Projected(), "residual")) == ["last"]


def test_parallel_branches_and_pyramids_are_no_residuals() -> None:
    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
            self.down, self.up = nn.Conv2d(4, 4, 3, 2, 1), nn.Upsample(scale_factor=2)
            self.out = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.left(x) + self.right(x)
            return self.out(x + self.up(self.down(x)))

    assert sites(Pyramid(), "residual") == ()


def test_a_branch_may_enlarge_a_gate_inside_of_it_and_have_a_projection_of_two() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.conv, self.gate, self.last = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(4))
            self.short = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.Conv2d(3, 3, 1))

        def forward(self, x: Tensor) -> Tensor:
            gate = nn.functional.interpolate(self.gate(nn.functional.avg_pool2d(x, 2)), size=x.shape[-2:])
            return self.last(self.conv(self.first(x)) * gate.sigmoid()) + self.short(x)

    assert names(sites(Gated(), "residual")) == ["last"]


def test_two_long_branches_are_no_residual() -> None:
    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(2)))
            self.three = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)))

        def forward(self, x: Tensor) -> Tensor:
            return self.two(x) + self.three(x)

    assert sites(Fused(), "residual") == ()


def test_sums_inside_of_a_branch_are_no_sites() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.last = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            y = self.one(x)
            y = y + self.two(y).relu()
            return x + self.last(y)

    assert names(sites(nn.Sequential(nn.Conv2d(3, 4, 1), Inner()), "residual")) == ["1.last"]


def test_dense_networks_end_branches_by_concatenation() -> None:
    model = create_model("densenet40_12")
    found = sites(model, "residual")
    assert len(found) == 18
    assert found[0].name == "features.1.conv2"
    assert {site.channels for site in found} == {12}


def test_pre_activation_branch_ends_with_its_convolution() -> None:
    found = sites(create_model("preresnet8"), "residual")
    assert names(found) == ["layer1.0.conv2", "layer2.0.conv2", "layer3.0.conv2"]


def test_module_that_runs_twice_with_two_branches_comes_once() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x + self.conv(x)
            return x + self.conv(x)

    assert names(sites(Shared(), "residual")) == ["conv"]


def test_module_shared_with_another_use_is_not_taken() -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return x + self.act(self.conv(self.act(x)))

    assert names(sites(Reused(), "residual")) == ["conv"]


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("resnet14", ["bn2 bn2"] * 3),
        ("timm:resnet18", ["bn2 bn2"] * 4),
        ("timm:seresnet18", ["se se"] * 4),
        ("torchvision:resnet18", ["bn2 bn2"] * 4),
        ("timm:test_resnet", ["bn2", "bn2", "bn3", "bn2"]),
    ],
)
def test_residual_sites_of_networks_that_everybody_knows(name: str, ends: list[str]) -> None:
    model = create_model(name)
    expected = [
        (f"layer{stage}.{block}.{end}", stage)
        for stage, row in enumerate(ends, 1)
        for block, end in enumerate(row.split())
    ]
    for example in (None, torch.randn(1, 3, 64, 64)):
        found = sites(model, "residual", example=example)
        assert [(site.name, site.stage) for site in found] == expected
        norms = [model.get_submodule(site.name.replace(".se", ".bn2")) for site in found]
        assert [site.channels for site in found] == [norm.num_features for norm in norms]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("layer3.*.bn2", ["layer3.0.bn2"]),
        (["layer1.*.bn1", "layer2"], ["layer1.0.bn1", "layer2"]),
        (
            lambda name, module: isinstance(module, nn.Conv2d) and module.out_channels == 64 and "2" in name[8:],
            ["layer3.0.conv2"],
        ),
        ("pool", None),
    ],
)
def test_patterns_and_predicates(where, expected) -> None:
    model = create_model("resnet8")
    if expected is None:
        with pytest.raises(ValueError, match=r"cannot tell the channels at 'pool'.*its output has the shape \(1, 64\)"):
            sites(model, where)
    else:
        assert names(sites(model, where)) == expected


def test_pattern_without_a_match_names_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"no module of the network matches 'layer3.0.bn9': did you mean 'layer3.0.bn\d'"
    ):
        sites(create_model("resnet8"), "layer3.0.bn9")
    with pytest.raises(ValueError, match="did you mean 'residual'"):
        sites(create_model("resnet8"), "residuals")
    with pytest.raises(ValueError, match="predicate given as where matches no module"):
        sites(create_model("resnet8"), lambda name, module: False)
    with pytest.raises(ValueError, match="empty list"):
        sites(create_model("resnet8"), [])


def test_module_list_never_runs() -> None:
    with pytest.raises(ValueError, match=r"'d': expected .* it never runs as a module"):
        sites(Net(), "d")


def test_network_that_does_not_run() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x + y

    with pytest.raises(ValueError, match=r"Odd does not run on images of several sizes \(TypeError: .*pass example="):
        sites(Odd())
    with pytest.raises(ValueError, match=r"Net does not run on the example .*pass one that it accepts"):
        sites(Net(), example=torch.randn(1, 5, 8, 8))


def test_example_may_be_arguments_or_keywords() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def forward(self, x: Tensor, *, image: Tensor | None = None) -> Tensor:
            return self.net(x if image is None else image)

    x = torch.randn(1, 3, 16, 16)
    assert len(sites(Two(), "residual", example=(x,))) == 4
    assert len(sites(Two(), "residual", example={"x": x, "image": x})) == 4


def test_looking_leaves_the_network_as_it_was() -> None:
    model = Net().train()
    model.b[0].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    draws = torch.get_rng_state()
    sites(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(draws, torch.get_rng_state())
    assert [module.training for module in (model, model.b[0], model.b[1])] == [True, False, True]
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_sites_stay_the_same_after_attaching() -> None:
    model = Net()
    before = sites(model)
    attach(model, "saam", where="head")
    attach(model, "saam")
    attach(model, "saam", where=["a", "b.1"])
    modules = list(model.modules())
    assert sites(model) == before
    with pytest.raises(ValueError, match="does not run on the example"):
        sites(model, example=torch.randn(1, 5, 8, 8))
    assert list(model.modules()) == modules


def test_sites_are_printable() -> None:
    assert str(sites(Net(), "head")[0]) == "head      before pool: 16 channels"
    assert str(sites(Net(), "head", example=torch.randn(1, 3, 20, 12))[0]).endswith("16 channels at 10x6")


@pytest.mark.parametrize("where", [None, "residual", "b.*.conv"])
def test_sizes_are_those_of_the_callers_example_only(where) -> None:
    assert {site.size for site in sites(Net(), where)} == {None}
    assert None not in {site.size for site in sites(Net(), where, example=torch.randn(1, 3, 20, 12))}


def test_a_predicate_of_other_arguments_is_refused() -> None:
    for where in (lambda name: True, lambda name, module, depth: True, nn.Conv2d):
        with pytest.raises(TypeError, match=r"expected where to be a predicate \(name, module\) -> bool, got "):
            sites(Net(), where)


def test_a_star_crosses_dots() -> None:
    assert names(sites(Net(), "b.*")) == ["b.0", "b.0.conv", "b.0.norm", "b.1", "b.1.conv", "b.1.norm"]
    assert names(sites(Net(), "b.?")) == ["b.0", "b.1"]


def test_a_site_is_before_or_after() -> None:
    with pytest.raises(ValueError, match="position 'after' or 'before', got 'under'"):
        Site("layer1", 8, position="under")


def test_a_unet_without_additions_has_no_residual_sites() -> None:
    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down1, self.down2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, 2, 1)
            self.up = nn.ConvTranspose2d(16, 8, 2, 2)
            self.out = nn.Conv2d(16, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.down1(x).relu()
            return self.out(torch.cat((x, self.up(self.down2(x).relu())), 1))

    assert sites(UNet(), "residual") == ()
    assert names(sites(UNet(), "conv")) == ["down1", "down2", "up"]
    with pytest.raises(ValueError, match=r"no 'residual' site in UNet: .*where='conv' \(down1, ...\)"):
        attach(UNet(), "saam")


class Segmentation(nn.Module):
    """Features, an auxiliary head at half the size, and a head whose logits are enlarged and made probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
        self.head, self.aux = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.deep(self.stem(x))
        logits = nn.functional.interpolate(self.head(x), scale_factor=2, mode="bilinear")
        return {"out": logits.softmax(1), "aux": self.aux(x)}


def test_logits_of_a_segmentation_are_no_site() -> None:
    assert names(sites(Segmentation(), "conv")) == ["stem.1", "deep.1", "deep.3"]
    assert names(sites(Segmentation(), "stage")) == ["deep.3"]
    assert sites(Segmentation(), "head") == ()


def test_logits_of_a_flat_network_are_no_stage() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 2, 1))
    assert names(sites(model, "stage")) == ["2"]
    assert names(sites(model, "conv")) == ["0", "2"]


def test_logits_of_a_convolutional_classifier_are_no_site() -> None:
    with torch.device("meta"):
        model = create_model("torchvision:squeezenet1_1")
    found = sites(model, example=torch.empty(1, 3, 64, 64, device="meta"))
    assert "classifier.1" not in names(found)
    assert "features.12.expand3x3" in names(found)
    assert [site for site in found if site.kind == "head"] == []
    with pytest.raises(ValueError, match="no global pooling was found before the classifier of SqueezeNet"):
        upgrade(model, head=True)


class Bare(Block):
    """A residual block without a norm."""

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


@pytest.mark.parametrize(
    "end",
    [
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU()),  # as VGG without a classifier
        nn.Sequential(nn.Conv2d(8, 8, 3), create_attention("se", 8)),
        nn.Sequential(nn.Conv2d(8, 8, 3), create_attention("simam", 8)),  # a gate without weights
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8), nn.AdaptiveAvgPool2d(1)),
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1)),  # as NFNet without a classifier
        nn.Sequential(nn.Conv2d(8, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
        Block(8),
        Bare(8),
    ],
)
def test_features_at_the_end_of_a_network_are_sites(end: nn.Module) -> None:
    found = sites(nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), end), "conv")
    assert [site.name.rpartition(".")[0] for site in found] == ["", "2"]


def test_head_that_pools_in_a_function() -> None:
    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
            self.fc = nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.stem(x).mean((2, 3)))

    assert [(site.name, site.position, site.channels) for site in sites(Head(), "head")] == [("stem.2", "after", 8)]
    model, x = Head(), torch.randn(2, 3, 9, 9)
    attach(model, lambda channels: nn.InstanceNorm2d(channels), where="head", start="default")
    torch.testing.assert_close(model(x), model.fc.bias.expand(2, 2), atol=1e-5, rtol=0)
    model = Head()
    model.fc = nn.Identity()  # the module that gives what is pooled does not take the map
    assert names(sites(nn.Sequential(model, nn.Linear(8, 2)), "head")) == ["0.stem.2"]


def test_shortcut_to_some_of_the_channels() -> None:
    class Partial(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6)

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(self.conv(x))
            return torch.cat((y[:, :4] + x, y[:, 4:]), 1)

    found = sites(nn.Sequential(nn.Conv2d(3, 4, 1), Partial()), "residual")
    assert [(site.name, site.channels) for site in found] == [("1.norm", 6)]
    with torch.device("meta"):
        model = create_model("timm:rexnet_100")
    found = sites(model, "residual", example=torch.empty(1, 3, 64, 64, device="meta"))
    assert len(found) == 11
    assert {site.name.partition(".")[2].partition(".")[2] for site in found} == {"conv_pwl.bn"}


def test_slice_of_a_value_that_is_used_whole_is_not_stepped_over() -> None:
    class Used(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 6, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return torch.cat((y[:, :4] + x, y), 1)

    assert sites(nn.Sequential(nn.Conv2d(3, 4, 1), Used()), "residual") == ()


def test_stem_that_rearranges_pixels_needs_no_example() -> None:
    model = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 8, 1), Block(8))
    assert names(sites(model, "residual")) == ["2.norm"]
    with torch.device("meta"):
        model = create_model("timm:tresnet_m")
        assert len(sites(model, "residual")) == 21
