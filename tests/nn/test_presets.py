"""Presets: parameter counts, options, swapped squeezes, the start as identity."""

import inspect
from functools import partial

import pytest
import torch
from torch import nn

from grammar import GRAMMAR
from parameters import FORMULAS
from saam.nn import (
    SAAM,
    Add,
    ChannelAttention,
    Covariance,
    DepthwiseConv,
    Doubled,
    MeanMax,
    OnePlusTanh,
    ScorePool2d,
    attention_record,
    create_attention,
    list_squeezes,
)
from saam.nn.attentions.eca import eca_kernel_size
from saam.nn.width import reduced

SIZE = (7, 9)
CANNOT_BE_THE_IDENTITY = {"ge-minus", "bam-channel"}

every = pytest.mark.parametrize("name", GRAMMAR)


def needed(name, size=SIZE):
    return attention_record(name).options_at(size=size, stage=2)


def create(name, channels=16, **options):
    return create_attention(name, channels, **needed(name), **options)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def randomise(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return module


class TestParameters:
    @pytest.mark.parametrize(
        ("name", "channels"),
        [(name, channels) for name in GRAMMAR for channels in (3, 16, 20, 64) if name != "fca" or channels % 16 == 0],
    )
    def test_are_as_many_as_the_record_says(self, name, channels):
        expected = attention_record(name).parameters(channels, **needed(name))
        assert count(create(name, channels)) == expected == FORMULAS[name](channels, **needed(name))

    @pytest.mark.parametrize(
        ("name", "total"),
        [("se", 2373), ("se:nobias", 2016), ("se:timm", 5784), ("srm", 1344), ("eca", 27), ("gct", 1008)],
    )
    def test_of_nine_blocks_of_resnet20(self, name, total):
        assert sum(count(create(name, channels)) for channels in 3 * (16, 32, 64)) == total

    @pytest.mark.parametrize(
        ("name", "channels", "formula"),
        [
            ("se", 64, 2 * 64 * 4 + 4 + 64),
            ("ese", 20, 20 * 20 + 20),
            ("bam-channel", 64, 2 * 64 * 4 + 3 * 4 + 64),
            ("ge", 20, 20 * 7 * 9 + 2 * 20),
            ("ge-plus", 64, 64 * 7 * 9 + 2 * 64 + 2 * 64 * 4 + 4 + 64),
            ("gc", 64, 64 + 1 + 2 * 64 * 4 + 3 * 4 + 64),
            ("fca", 64, 2 * 64 * 4),
            ("gsop", 64, 5 * 128 * 64 + 4 * 128**2 + 9 * 128 + 64),
            ("saam", 64, 2 * 64 * 4 + 4 + 64 + 64),
        ],
    )
    def test_by_hand(self, name, channels, formula):
        assert count(create(name, channels)) == formula

    def test_ge_counts_the_pixels_of_a_square_too(self):
        record = attention_record("ge")
        assert record.parameters(20) == record.parameters(20, size=7) == record.parameters(20, size=(7, 7)) == 1020


class TestSqueeze:
    @every
    @pytest.mark.parametrize("squeeze", list_squeezes())
    def test_any_in_any(self, name, squeeze):
        if squeeze == "depthwise-conv" and "size" not in attention_record(name).needs:
            squeeze = partial(DepthwiseConv, size=SIZE)
        module = randomise(create(name, squeeze=squeeze)).double()
        x = torch.randn(3, 16, *SIZE, dtype=torch.float64, requires_grad=True)
        y = module(x)
        assert y.shape == x.shape
        y.square().sum().backward()
        assert x.grad.isfinite().all()
        assert all(parameter.grad is not None for parameter in module.parameters())

    @every
    def test_score_starts_as_the_mean(self, name):
        scored = create(name, 64, squeeze="score", dtype=torch.float64)
        averaged = randomise(create(name, 64, squeeze="mean", dtype=torch.float64))
        scored.excitation = averaged.excitation
        if name in ("gc", "gc:mul"):
            assert scored.squeeze.weight.abs().min() > 0  # its scorer starts at random, as in the official code
            nn.init.zeros_(scored.squeeze.weight)
        x = torch.randn(3, 64, *SIZE, dtype=torch.float64)
        torch.testing.assert_close(scored(x), averaged(x))
        nn.init.normal_(scored.squeeze.weight)
        assert not torch.allclose(scored(x), averaged(x))

    @every
    def test_score_learns_from_its_start(self, name):
        module = create(name, 64, squeeze="score")
        randomise(module.excitation)
        x = torch.randn(3, 64, *SIZE)
        (module(x) * torch.randn_like(x)).sum().backward()
        assert module.squeeze.weight.grad.abs().max() > 0

    @every
    def test_may_be_a_module_or_a_function(self, name):
        assert isinstance(create(name, squeeze=MeanMax()).squeeze, MeanMax)
        assert create(name, squeeze=partial(ScorePool2d, heads=4)).squeeze.heads == 4

    @pytest.mark.parametrize("name", sorted(set(GRAMMAR) - {"gsop"}))
    def test_must_give_statistics_of_all_channels(self, name):
        with pytest.raises(ValueError, match="all 16 channels, and the squeeze gives those of 5"):
            create(name, squeeze=partial(Covariance, reduced=5))

    def test_gsop_takes_statistics_of_fewer_channels(self):
        module = create("gsop", squeeze=partial(Covariance, reduced=5))
        assert module.eval()(torch.randn(2, 16, *SIZE)).shape == (2, 16, *SIZE)


class TestIdentity:
    @pytest.mark.parametrize("name", sorted(set(GRAMMAR) - CANNOT_BE_THE_IDENTITY))
    @pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
    def test_start(self, name, training):
        """The last layer at zero and twice the sigmoid: the module changes nothing, and can learn from there."""
        module = randomise(create(name)).train(training)
        module.excitation.zero_last_()
        if not isinstance(module.gate, Add | OnePlusTanh):
            module.gate = Doubled(module.gate)
        x = torch.randn(3, 16, *SIZE)
        y = module(x)
        assert torch.equal(y, x)
        (y * torch.randn_like(y)).sum().backward()
        assert any(parameter.grad.abs().max() > 0 for parameter in module.excitation.parameters())

    def test_gct_is_one_when_new(self):
        x = torch.randn(3, 16, *SIZE)
        assert torch.equal(create("gct")(x), x)

    def test_saam_is_an_se_when_new(self):
        saam, se = create("saam"), create("se")
        se.excitation = saam.excitation
        x = torch.randn(3, 16, *SIZE)
        torch.testing.assert_close(saam(x), se(x))


def options_of(name):
    parameters = inspect.signature(attention_record(name).build).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


class TestOptions:
    OTHER = {  # noqa: RUF012  a table
        "bias": False,
        "dtype": torch.float64,
        "frequencies": 4,
        "fusion": "mul",
        "heads": 4,
        "kernel_size": 5,
        "kernels": (5, 7),
        "rd_channels": 5,
        "rd_divisor": 8,
        "rd_ratio": 0.5,
        "scorer": "channel",
        "size": (8, 7),
        "squeeze": "max",
        "stage": 1,
        "temperature": 0.1,
        "device": "meta",
    }

    @pytest.mark.parametrize(("name", "option"), [(name, option) for name in GRAMMAR for option in options_of(name)])
    def test_every_one_is_read(self, name, option):
        usual = needed(name)
        other = self.OTHER[option]
        # what the variants have already; and the first two stages of eca:3357 have the same kernel
        variants = {("se:nobias", "bias"): True, ("gc:mul", "fusion"): "add", ("se:timm", "rd_divisor"): 4}
        other = (variants | {("eca:3357", "stage"): 3}).get((name, option), other)
        if name == "ge-minus" and option in ("device", "dtype"):
            usual = {"squeeze": "score"}

        def character(module):
            text = repr(module) + str([(key, value.shape) for key, value in module.state_dict().items()])
            return text + str({(value.dtype, value.device) for value in module.state_dict().values()})

        plain = character(create_attention(name, 64, **usual))
        assert character(create_attention(name, 64, **usual | {option: other})) != plain

    def test_the_width_of_a_bottleneck(self):
        assert reduced(64, 1 / 16, None, 1) == 4
        assert reduced(64, 1 / 16, None, 8) == 8
        assert reduced(3, 1 / 16, None, 1) == 1
        assert reduced(20, 1 / 16, None, 1) == 1
        assert reduced(40, 1 / 16, None, 1) == 3
        assert reduced(64, 1 / 16, 7, 8) == 7

    @pytest.mark.parametrize(
        ("channels", "size"), [(1, 1), (16, 3), (32, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)]
    )
    def test_the_kernel_of_eca(self, channels, size):
        assert eca_kernel_size(channels) == size
        assert create("eca", channels).excitation.conv.weight.shape == (1, 1, size)

    @pytest.mark.parametrize(("name", "kernels"), [("eca:3557", "3557"), ("eca:3577", "3577"), ("eca:3357", "3357")])
    def test_the_kernels_of_the_released_eca(self, name, kernels):
        built = [create_attention(name, 64, stage=stage).excitation.conv.kernel_size[0] for stage in (1, 2, 3, 4)]
        assert "".join(map(str, built)) == kernels

    def test_saam_is_a_class_of_its_own(self):
        assert isinstance(create("saam"), SAAM)
        assert isinstance(SAAM(16, squeeze="max"), ChannelAttention)


class TestErrors:
    @pytest.mark.parametrize(
        ("name", "channels", "options", "message"),
        [
            ("se", 0, {}, "channels must be a whole number above 0, got 0"),
            ("ese", 2.5, {}, "channels must be a whole number above 0, got 2.5"),
            ("se", 16, {"rd_ratio": 0}, "rd_ratio must be above 0 and rd_divisor 1 or more, got 0 and 1"),
            ("se", 16, {"rd_channels": 0}, "rd_channels must be 1 or more, got 0"),
            ("gc", 16, {"fusion": "plus"}, "fusion must be 'add' or 'mul', got 'plus'"),
            ("saam", 16, {"heads": 3}, "heads must divide the channels, got heads=3 for channels=16"),
            ("saam", 16, {"squeeze": "mean", "heads": 4}, "heads, scorer, kernel_size, temperature belong to"),
            ("saam", 16, {"squeeze": "mean", "heads": 1}, "heads, scorer, kernel_size, temperature belong to"),
            ("eca", 16, {"kernel_size": 4}, "kernel_size must be odd, got 4"),
            ("eca:3557", 16, {}, r"3, 5, 5, 7 in the stages .* stage=1 to stage=4, got None"),
            ("eca:3557", 16, {"stage": 5}, "stage=1 to stage=4, got 5"),
            ("ge", 16, {}, r"must know the map's size: give size=\(height, width\)"),
            ("ge-plus", 16, {}, r"must know the map's size: give size=\(height, width\)"),
            ("ge", 16, {"size": (7, 0)}, r"size must be a whole number above 0, .*, got \(7, 0\)"),
            ("fca", 20, {}, "got 16 for 20 channels; take frequencies=1 or 2 or 4 or 5 or 10 or 20"),
            ("fca", 16, {"size": 6}, "size must be 7 or more"),
            ("fca", 16, {"squeeze": "mean", "size": 7}, "frequencies and size belong to squeeze='dct'"),
            ("gsop", 16, {"rd_channels": 0}, "reduced must be 1 or more, got 0"),
            ("gsop", 16, {"squeeze": "mean", "rd_channels": 8}, "rd_channels belongs to squeeze='covariance'"),
        ],
    )
    def test_when_built(self, name, channels, options, message):
        with pytest.raises(ValueError, match=message):
            create_attention(name, channels, **options)

    @every
    def test_another_number_of_channels(self, name):
        with pytest.raises(ValueError, match=r"built for 16 channels, got .*; build it with channels=32"):
            create(name)(torch.randn(2, 32, *SIZE))

    @every
    def test_no_map(self, name):
        with pytest.raises(ValueError, match=r"\(B, C, H, W\), got \(16, 7, 9\).*x\[None\]"):
            create(name)(torch.randn(16, *SIZE))

    @pytest.mark.parametrize("name", ["ge", "ge-plus"])
    def test_a_map_of_another_size(self, name):
        with pytest.raises(ValueError, match=r"built for maps of 7x9, got 8x9; build it with size=\(8, 9\)"):
            create(name)(torch.randn(2, 16, 8, 9))

    def test_a_map_too_small_for_its_frequencies(self):
        with pytest.raises(ValueError, match=r"under 7 pixels .* got 4x4; build it with size=7"):
            create("fca")(torch.randn(2, 16, 4, 4))


def test_srm_names_what_must_not_decay():
    module = create("srm")
    assert module.no_weight_decay() == {name for name, _ in module.named_parameters()}
    assert create("srm", squeeze="score").no_weight_decay() == {
        "squeeze.weight",
        "excitation.weight",
        "excitation.norm.weight",
        "excitation.norm.bias",
    }
    assert create("gct").no_weight_decay() == {"excitation.beta"}
    assert create("se").no_weight_decay() == set()
