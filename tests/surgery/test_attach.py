import copy
import pickle
from functools import partial

import pytest
import timm
import torch
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

import saam
from saam.models import create_model
from saam.nn import SAAM, ChannelAttention, ScorePool2d, create_attention, list_attentions, parse_attention
from saam.surgery import Attended, attach, detach, new_parameters, sites, upgrade
from saam.surgery.identity import FadedIn

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def resnet(name: str = "resnet8", **options: object) -> nn.Module:
    return create_model(name, seed=0, **options).eval()


def outputs(model: nn.Module, x: Tensor = X) -> Tensor:
    with torch.no_grad():
        return model(x)


@pytest.mark.parametrize("attention", [*list_attentions(), "callable"])
def test_identity_start_keeps_the_outputs_bit_for_bit(attention: str) -> None:
    model = resnet()
    before, state = outputs(model), copy.deepcopy(model.state_dict())
    attach(model, nn.InstanceNorm2d if attention == "callable" else attention, example=X)
    assert torch.equal(outputs(model), before)
    model.load_state_dict(state, strict=False)
    assert torch.equal(outputs(model), before)


@pytest.mark.parametrize(
    "attention",
    ["saam", "se", "ese", "gc,rd_channels=4", "cbam", "ge-minus", lambda channels: nn.Conv2d(channels, channels, 1)],
)
def test_gradients_reach_every_new_parameter(attention) -> None:
    model = resnet()
    name, options = parse_attention(attention) if isinstance(attention, str) else (attention, {})
    attach(model, name, **options)
    model.train()
    new = new_parameters(model)
    optimizer = torch.optim.SGD(new.values(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        model(X).square().sum().backward()
        optimizer.step()
    assert new
    dead = [name for name, parameter in new.items() if parameter.grad is None or not parameter.grad.any()]
    assert [name for name in dead if "bias" not in name] == []


def test_default_start_is_the_attentions_own() -> None:
    model = resnet()
    before = outputs(model)
    attach(model, "se", start="default")
    assert not torch.allclose(outputs(model), before)
    assert isinstance(model.layer1[0].bn2.attention.gate, nn.Sigmoid)


def test_keys_stay_and_weights_load_both_ways() -> None:
    plain, attended = resnet(), create_model("resnet8", attention="saam", seed=1).eval()
    keys = list(plain.state_dict())
    state = attended.state_dict()
    assert [key for key in state if ".attention." not in key] == keys
    missing, unexpected = attended.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert missing
    assert all(".attention." in key for key in missing)
    missing, unexpected = plain.load_state_dict(state, strict=False)
    assert missing == []
    assert all(".attention." in key for key in unexpected)
    assert torch.equal(plain.layer1[0].bn2.weight, state["layer1.0.bn2.weight"])
    assert set(state._metadata) >= {"layer1.0.bn2", "layer1.0.bn2.attention"}
    assert not any(key.endswith("_module") for key in state._metadata)


def test_loading_a_full_state_is_exact() -> None:
    first, second = (create_model("resnet8", attention="saam", seed=seed).eval() for seed in (1, 2))
    assert not torch.equal(outputs(first), outputs(second))
    second.load_state_dict(first.state_dict())
    assert torch.equal(outputs(first), outputs(second))


def test_a_wrapped_container_keeps_its_keys() -> None:
    model = resnet()
    keys = list(model.state_dict())
    attach(model, "se")
    attach(model, "se", where="layer2")
    state = model.state_dict()
    assert [key for key in state if ".attention." not in key] == keys
    assert "layer2.attention.excitation.fc1.weight" in state
    assert "layer2.0.bn2.attention.excitation.fc1.weight" in state
    other = resnet()
    attach(other, "se", where="layer2")
    attach(other, "se")
    other.load_state_dict(state)
    detach(model)
    assert list(model.state_dict()) == keys


def test_attaching_the_same_again_changes_nothing() -> None:
    model = resnet()
    first = attach(model, "saam", heads=2)
    modules = list(model.modules())
    again = attach(model, "saam", heads=2)
    assert len(first.changes) == 3
    assert again.changes == ()
    assert list(model.modules()) == modules
    assert str(again).splitlines()[1:] == [
        "total  0 sites  +0",
        "left alone: 3 sites, layer1.0.bn2 to layer3.0.bn2: saam is there already",
    ]
    assert attach(model, "saam,heads=2").changes == ()


def test_options_may_follow_the_name() -> None:
    model = resnet()
    attach(model, "eca,squeeze=score", kernel_size=5)
    attention = model.layer1[0].bn2.attention
    assert (type(attention.squeeze), attention.excitation.conv.kernel_size) == (ScorePool2d, (5,))
    refused("option 'heads' is given twice, in 'saam,heads=2' and as a keyword", "saam,heads=2", heads=2)


@pytest.mark.parametrize(
    ("model", "names", "upgradable"),
    [
        (lambda: timm.create_model("seresnet18"), "8 SEModule", True),
        (lambda: timm.create_model("resnet18", block_args={"attn_layer": SAAM}), "8 SAAM", False),
        (lambda: create_model("torchvision:mobilenet_v3_small"), "9 SqueezeExcitation", True),
    ],
)
def test_attention_that_is_there_is_named(model, names: str, upgradable: bool) -> None:
    model = model()
    note = str(attach(model, "saam")).splitlines()[-1]
    assert note.startswith(f"note: the network already has attention ({names}): it stays, and new attention in the")
    assert ("saam.upgrade(model)" in note) is upgradable
    upgrade(model)
    (note,) = attach(model, "saam").notes
    assert f"({names})" in note
    assert "saam.upgrade" not in note
    assert attach(resnet(), "saam").notes == ()


def test_blocks_that_would_fuse_attention_away_are_named() -> None:
    class Block(nn.Sequential):
        def fuse(self) -> nn.Module:
            return nn.utils.fusion.fuse_conv_bn_eval(*self)

    model = nn.Sequential(nn.Conv2d(3, 4, 1), Block(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)))
    assert attach(model, "se", where="0").notes == ()
    note = "Block.fuse() may remove this attention: detach first, or fuse before you attach"
    assert attach(model, "se", where="1.1").notes == (note,)
    assert attach(model, "se", where="1.1").notes == ()


def test_report_says_of_what_kind_the_sites_are() -> None:
    assert "  3 residual sites  " in str(attach(resnet(), "saam"))
    assert "  1 head site  " in str(attach(resnet(), "saam", where="head"))
    assert "  1 site  " in str(attach(resnet(), "saam", where="layer1"))
    model = resnet()
    attach(model, "saam")
    assert "  3 residual sites  " in str(detach(model))


def test_another_attention_at_the_same_site_is_refused() -> None:
    model = resnet()
    attach(model, "saam")
    with pytest.raises(ValueError, match=r"'layer1.0.bn2' has attention already \(saam\).*detach"):
        attach(model, "saam", heads=2)
    with pytest.raises(ValueError, match="has attention already"):
        attach(model, "se")


def refused(
    message: str, *args: object, error: type[Exception] = ValueError, model: nn.Module | None = None, **options: object
) -> None:
    model = resnet() if model is None else model
    before = list(model.modules())
    with pytest.raises(error, match=message):
        attach(model, *args, **options)
    assert list(model.modules()) == before


def test_errors_leave_the_network_untouched() -> None:
    def third_fails(channels: int) -> nn.Module:
        if channels == 64:
            raise RuntimeError("no room")
        return SAAM(channels)

    refused("no room", third_fails, error=RuntimeError)
    refused("unknown attention 'saan': did you mean 'saam'", "saan")
    refused("no option 'head': did you mean 'heads'", "saam", head=2, error=TypeError)
    refused("heads must divide", "saam", heads=3)
    refused("registered name or a function", 3, error=TypeError)
    refused("must give a torch.nn.Module for 16 channels", lambda channels: None, error=TypeError)
    refused("must keep the shape of its map: Conv2d turned", lambda channels: nn.Conv2d(channels, 5, 1))
    refused("start must be 'identity' or 'default', got 'zero'", "saam", start="zero")
    refused("does not run on the example", "saam", example=torch.randn(1, 4, 8, 8))


def test_child_named_attention_is_refused() -> None:
    class Own(nn.Sequential):
        pass

    model = nn.Sequential(Own())
    model[0].add_module("attention", nn.Conv2d(3, 4, 1))
    refused("cannot attach at '0': the module already has a child called 'attention'", "se", where="0", model=model)


def test_no_site() -> None:
    refused(
        r"no 'residual' site in VGG: .*where='stage' \(\S+, ...\) or where='conv' \(\S+, ...\) or where='head'",
        "saam",
        model=create_model("vgg11_bn"),
    )
    layer = nn.TransformerEncoderLayer(8, 2, batch_first=True)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.layer = nn.Conv2d(3, 8, 8, 8), layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.patch(x).flatten(2).mT).mean(1)

    refused(
        r"looks like a transformer, .*no site there; other parts of it have sites: where='conv' \(patch\)",
        "saam",
        model=Tokens(),
    )
    refused("no feature map", "saam", model=nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)))


def test_transformer_is_named() -> None:
    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(3 * 64, 8)
            self.layer = nn.TransformerEncoderLayer(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.embed(nn.functional.unfold(x, 8, stride=8).mT)).mean(1)

    refused("no 'residual' site in Patches: it looks like a transformer", "saam", model=Patches())


def test_sites_may_be_chosen_by_hand() -> None:
    model = resnet()
    report = attach(model, "saam", where=[site for site in sites(model, "residual") if site.channels > 16])
    assert report.sites == ("layer2.0.bn2", "layer3.0.bn2")
    with pytest.raises(TypeError, match="expected only sites"):
        attach(model, "saam", where=[*sites(model, "residual"), "layer1"])


def test_attention_before_a_module() -> None:
    model = resnet()
    attach(model, lambda channels: nn.InstanceNorm2d(channels), where="head", start="default")
    assert model.pool.site.position == "before"
    assert torch.allclose(model.pool(torch.randn(2, 64, 5, 7)), torch.zeros(2, 64), atol=1e-5)


def test_shared_module_is_wrapped_once_everywhere() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1)
            self.first = nn.Conv2d(4, 4, 3, padding=1)
            self.second = self.first

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x + self.first(x)
            return x + self.second(x)

    model = Shared()
    assert len(attach(model, "se").changes) == 1
    assert isinstance(model.first, Attended)
    assert model.first is model.second
    detach(model)
    assert model.first is model.second
    assert isinstance(model.first, nn.Conv2d)


def test_size_and_stage_are_told_to_attention_that_asks() -> None:
    told = []

    def build(channels: int, *, size: tuple[int, int], stage: int) -> nn.Module:
        told.append((channels, size, stage))
        return SAAM(channels)

    attach(resnet(), build, example=torch.randn(1, 3, 32, 16))
    assert told == [(16, (32, 16), 1), (32, (16, 8), 2), (64, (8, 4), 3)]
    refused("depends on the size of the map at each site.*pass example=", build)
    refused("depends on the size", "ge")
    model = resnet()
    attach(model, "ge", example=X)
    outputs(model)


def test_report_says_what_was_added() -> None:
    model = resnet()
    report = attach(model, "saam", example=X)
    assert report.parameters == sum(p.numel() for p in new_parameters(model).values()) == 903
    assert report.difference == 0.0
    assert report.preserved is True
    assert report.macs == sum(change.macs for change in report.changes) > 3 * 16 * 32 * 32
    lines = str(report).splitlines()
    assert lines[0].split() == ["site", "channels", "change", "parameters", "MACs"]
    assert lines[1].split() == ["layer1.0.bn2", "16", "+", "saam", "+65", f"{report.changes[0].macs:+d}"]
    assert lines[-1] == "largest change of an output: 0"
    other = attach(resnet(), "se", start="default", example=X)
    assert other.preserved is False
    assert other.difference > 1e-3
    assert attach(resnet(), "se").difference is attach(resnet(), "se").macs is None


class Doubling(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


@pytest.mark.parametrize(
    ("attention", "label"),
    [
        ("eca", "eca"),
        ("eca,squeeze=score", "eca"),
        ("cbam", "cbam"),
        ("timm:se", "timm:se"),
        (Doubling, "Doubling"),
        (lambda channels: Doubling(channels), "Doubling"),
        (partial(SAAM, heads=2), "SAAM"),
    ],
)
def test_report_names_the_attention_that_was_asked_for(attention, label: str) -> None:
    model = resnet()
    assert {change.action for change in attach(model, attention).changes} == {f"+ {label}"}
    assert {reason for _, reason in attach(model, attention).left} == {f"{label} is there already"}
    with pytest.raises(ValueError, match=rf"'layer1.0.bn2' has attention already \({label}\)"):
        attach(model, "srm")
    if label in ("eca", "timm:se", "SAAM"):
        report = upgrade(model)
        assert {change.action for change in report.changes} <= {f"{label}: squeeze ScorePool2d"}
        assert len(report.changes) == (0 if "score" in str(attention) or label == "SAAM" else 3)
    assert {change.action for change in detach(model).changes} == {f"- {label}"}


def test_optimizer_can_be_extended() -> None:
    model = resnet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(model, "saam")
    optimizer.add_param_group({"params": list(new_parameters(model).values()), "lr": 1.0})
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 1.0]
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in model.parameters()}


def test_new_modules_follow_mode_dtype_and_device_of_their_site() -> None:
    model = resnet().double()
    model.layer2.train()
    attach(model, "saam")
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert [model.get_submodule(f"layer{i}.0.bn2.attention").training for i in (1, 2)] == [False, True]
    with torch.device("meta"):
        meta = create_model("resnet8")
    attach(meta, "saam")
    assert {p.device.type for p in meta.parameters()} == {"meta"}


def test_a_network_without_memory_gets_attention_first_and_weights_after() -> None:
    with torch.device("meta"):
        model = create_model("resnet8").eval()
        report = attach(model, "saam", example=torch.randn(2, 3, 32, 32))
    assert report.difference is report.preserved is None
    weights = create_model("resnet8", attention="saam", start="identity", seed=0).eval()
    assert report.macs == attach(resnet(), "saam", example=X).macs
    model.to_empty(device="cpu").load_state_dict(weights.state_dict())
    assert torch.equal(outputs(model), outputs(weights))


def test_attended_stands_in_for_its_module() -> None:
    model = resnet()
    attach(model, "saam")
    norm = model.layer1[0].bn2
    assert norm.num_features == 16
    assert norm.weight is norm.original.weight
    nn.init.zeros_(norm.weight)
    assert not norm.original.weight.any()
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = norm.nothing_like_it
    assert "(layer1)" in repr(model)
    assert "position='after'" in repr(norm)


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_work_alone(twin) -> None:
    model = create_model("resnet8", attention="saam", seed=0).eval()
    other = twin(model)
    assert list(other.state_dict()) == list(model.state_dict())
    assert torch.equal(outputs(other), outputs(model))
    nn.init.zeros_(other.layer1[0].bn2.weight)
    assert model.layer1[0].bn2.weight.any()
    detach(other)
    assert "layer1.0.bn2.attention.squeeze.weight" in model.state_dict()


def test_sync_batch_norm_keeps_the_attention() -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(create_model("resnet8", attention="saam"))
    assert isinstance(model.layer1[0].bn2, Attended)
    assert isinstance(model.layer1[0].bn2.original, nn.SyncBatchNorm)


def test_traced_and_exported_networks_compute_the_same() -> None:
    model = create_model("resnet8", attention="saam", seed=0).eval()
    expected = outputs(model)
    exported = torch.export.export(model, (X,), strict=False).module()
    assert torch.allclose(exported(X), expected, atol=1e-5)
    symbolic = torch.fx.symbolic_trace(resnet())
    before = outputs(symbolic)
    assert len(attach(symbolic, "saam").changes) == 3
    assert torch.equal(outputs(symbolic), before)


@pytest.mark.parametrize("attention", ["saam", "cbam", "coord"])
@pytest.mark.parametrize("where", ["residual", "head"])
def test_fx_calls_attention_whole(attention: str, where: str) -> None:
    model = create_model("torchvision:resnet18", attention=attention, where=where, seed=0).eval()
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(outputs(torch.fx.symbolic_trace(model), x), outputs(model, x))
    features = outputs(create_feature_extractor(model, {"layer2": "maps"}), x)["maps"]
    trunk = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, model.layer1, model.layer2)
    assert torch.equal(features, outputs(trunk, x))


@pytest.mark.parametrize(
    ("wrap", "reason"),
    [
        (lambda model: nn.DataParallel(model), "DataParallel.*use model.module"),
        (lambda model: torch.compile(model, backend="eager"), "OptimizedModule.*compile again"),
        (lambda model: (model.compile(backend="eager"), model)[1], "OptimizedModule.*compile again"),
        (lambda model: nn.Sequential(nn.DataParallel(model)), "the part '0' of the network"),
        (lambda model: nn.Sequential(nn.LazyConv2d(4, 1), model), "the part '0'.*run the network once on an image"),
        (lambda model: "a network", "expected a network"),
    ],
)
def test_wrapped_networks_are_refused(wrap, reason: str) -> None:
    model = wrap(resnet())
    for operation in (lambda: attach(model, "saam"), lambda: detach(model), lambda: sites(model)):
        with pytest.raises(TypeError, match=reason):
            operation()


def test_a_lazy_network_stays_lazy_and_takes_attention_once_it_ran() -> None:
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    for look in (sites, lambda model: attach(model, "se", where="conv"), lambda model: upgrade(model, head=True)):
        with pytest.raises(TypeError, match="run the network once on an image"):
            look(model)
    assert model(X).shape == (2, 4, 1, 1)
    assert attach(model, "se", where="conv").sites == ("1",)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_scripted_network_is_refused() -> None:
    with pytest.raises(TypeError, match="scripted code cannot change; use the Python network"):
        attach(torch.jit.trace(resnet(), X), "saam")


def test_faded_in_is_used_where_the_grammar_has_no_identity() -> None:
    for attention, kind in [("saam", SAAM), ("gct", ChannelAttention), ("ge-minus", FadedIn), ("cbam", FadedIn)]:
        model = resnet()
        attach(model, attention)
        assert isinstance(model.layer1[0].bn2.attention, kind)


def test_faded_in_blends() -> None:
    faded = FadedIn(nn.ReLU())
    with torch.no_grad():
        faded.scale.fill_(0.25)
    assert torch.allclose(faded(torch.tensor([-4.0, 8.0])), torch.tensor([-3.0, 8.0]))
    assert faded.no_weight_decay() == {"scale"}


def test_peers_of_timm_can_be_attached() -> None:
    model = resnet()
    before = outputs(model)
    attach(model, "timm:se")
    assert torch.equal(outputs(model), before)
    assert create_attention("timm:se", 16)(torch.randn(1, 16, 4, 4)).shape == (1, 16, 4, 4)


class Residual(saam.nn.ChannelAttention):
    """A class of one's own that changes the grammar."""

    def forward(self, x):
        return x + super().forward(x)


class Louder(saam.nn.ChannelAttention):
    def respond(self, statistics):
        return 1.5 * super().respond(statistics)


def own(kind):
    def build(channels):
        return kind(saam.nn.create_squeeze("mean", channels), saam.nn.BottleneckMLP(channels, 4), torch.nn.Sigmoid())

    return build


@pytest.mark.parametrize("kind", [Residual, Louder])
def test_attention_that_changes_the_grammar_starts_as_the_identity_too(kind):
    model, x = saam.create_model("resnet8", seed=0).eval(), torch.randn(2, 3, 16, 16)
    assert saam.attach(model, own(kind), example=x).difference == 0
    assert len(saam.new_parameters(model)) > 0


def test_a_network_that_does_not_run_with_the_attention_stays_as_it_was():
    model, x = saam.create_model("resnet8"), torch.randn(2, 3, 16, 16)
    keys = [*model.state_dict()]
    with pytest.raises(ValueError, match="size"):
        saam.attach(model, "fca", example=x)
    assert [*model.state_dict()] == keys
    assert not saam.new_parameters(model)


def test_one_module_for_several_sites_is_refused():
    model = saam.create_model("resnet8", width=(16, 16, 16))
    with pytest.raises(ValueError, match=r"squeeze=ScorePool2d.* is one module, and 3 sites would share it"):
        saam.attach(model, "se", squeeze=saam.ScorePool2d(16))
    saam.attach(model, "se", squeeze=saam.ScorePool2d(16), where="layer1.0.bn2")


def test_sites_inside_upgraded_attention_are_refused_and_scores_are_no_convolution():
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet10t", block_args={"attn_layer": "se"}, num_classes=3)
    saam.upgrade(model)
    with pytest.raises(ValueError, match="is inside attention that upgrade changed"):
        saam.attach(model, "se", where="*.se.fc1")
    context = timm.create_model("resnet10t", block_args={"attn_layer": "gc"}, num_classes=3)
    assert not [site.name for site in saam.sites(context, "conv") if "conv_attn" in site.name]
    saam.upgrade(context)
    saam.attach(context, "se", where="conv")


class Listed(nn.Module):
    """A network that calls its stages by a Python list."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
        self.stages = [self.stem, self.first]

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return self.second(x).mean((2, 3))


@pytest.mark.parametrize("options", [{"where": "conv"}, {"where": "first", "example": X}])
def test_attention_that_would_never_run_is_refused(options) -> None:
    refused(
        "attention at '(stem|first)' does not run in evaluation mode: Listed .* Python list",
        "se",
        model=Listed(),
        **options,
    )
    attach(Listed(), "se", where="second", example=X)


def test_a_site_that_is_chosen_twice_gets_one_attention() -> None:
    model = resnet()
    report = attach(model, "se", where=[*sites(model, "residual"), *sites(model, "residual")])
    assert report.parameters == sum(parameter.numel() for parameter in new_parameters(model).values())
    assert len(report.sites) == 3
