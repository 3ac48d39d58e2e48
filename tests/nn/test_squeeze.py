"""Squeezes against literal references, and what each of them is for."""

import copy
import pickle
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch.export import Dim
from torch.nn import functional as F

import reference
from saam.nn import (
    DCT,
    Covariance,
    DepthwiseConv,
    GeM,
    LogSumExp,
    Mean,
    ScorePool2d,
    SoftPool,
    create_squeeze,
    list_squeezes,
)
from saam.nn.squeeze import height_and_width, statistics_of

SIZE = (7, 9)


def per_channel(*statistics):
    return lambda x: reference.per_channel(x, *statistics)


LITERAL = {
    "mean": per_channel(reference.mean),
    "max": per_channel(reference.maximum),
    "mean+max": per_channel(reference.mean, reference.maximum),
    "mean+std": per_channel(reference.mean, reference.deviation),
    "l2": per_channel(reference.l2),
    "log-sum-exp": per_channel(reference.log_sum_exp),
    "softpool": per_channel(reference.softpool),
    "gem": per_channel(reference.gem),
    "dct": reference.cosine_transform,
    "covariance": reference.covariance,
}


def create(name, channels=16, **options):
    size = SIZE if name == "depthwise-conv" else None
    squeeze = create_squeeze(name, channels, size=size, **options)
    if name == "score":
        torch.nn.init.normal_(squeeze.weight)
    return squeeze


every = pytest.mark.parametrize("name", list_squeezes())


@pytest.mark.parametrize("name", LITERAL)
def test_equals_the_literal_reference(name):
    ours = torch.randn(2, 16, *SIZE, dtype=torch.float64).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    actual, expected = create(name, dtype=torch.float64)(ours), LITERAL[name](theirs)
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn_like(expected)
    actual.backward(cotangent)
    expected.backward(cotangent)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_depthwise_convolution():
    squeeze = create("depthwise-conv", 3, dtype=torch.float64)
    x = torch.randn(2, 3, *SIZE, dtype=torch.float64)
    torch.testing.assert_close(squeeze(x), reference.depthwise(x, squeeze.weight))
    torch.testing.assert_close(squeeze(x), F.conv2d(x, squeeze.weight, groups=3).flatten(1))
    assert torch.autograd.gradcheck(squeeze, (x.requires_grad_(),))


@every
def test_gives_as_many_statistics_as_it_says(name):
    squeeze = create(name)
    values = squeeze(torch.randn(2, 16, *SIZE))
    count = statistics_of(squeeze, 16)
    assert values.shape == ((2, 16) if values.ndim == 2 else (2, count, 16))
    assert (values.ndim == 2) == (count == 1)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types_are_accumulated_in_float32(name, dtype):
    """At 1000 sums and squares of the pixels are far above the largest float16, 65504."""
    squeeze = create(name)
    x = (1000 + 50 * torch.randn(2, 16, *SIZE)).to(dtype)
    exact = copy.deepcopy(squeeze).double()(x.double())
    with torch.autocast("cpu", dtype=dtype):
        values = squeeze(x)
    # what can outgrow the map stays in float32
    expected = torch.float32 if name in ("l2", "dct", "depthwise-conv", "covariance") else dtype
    assert values.dtype == expected
    assert values.isfinite().all()
    assert (values.double() - exact).abs().max() <= 4 * torch.finfo(expected).eps * exact.abs().max()


@every
def test_layout_does_not_matter(name):
    squeeze, x = create(name), torch.randn(2, 16, *SIZE)
    torch.testing.assert_close(squeeze(x.to(memory_format=torch.channels_last)), squeeze(x))


@every
def test_one_pixel(name):
    squeeze = create_squeeze(name, 16, size={"depthwise-conv": 1, "dct": 7}.get(name))
    x = torch.randn(2, 16, 1, 1, requires_grad=True)
    values = squeeze(x)
    values.sum().backward()
    assert values.isfinite().all()
    assert x.grad.isfinite().all()


@every
def test_compiles_exports_and_pickles(name):
    squeeze, x = create(name).eval(), torch.randn(3, 16, *SIZE)
    expected = squeeze(x)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(squeeze, backend="eager", fullgraph=True)(x), expected)
    for twin in (copy.deepcopy(squeeze), pickle.loads(pickle.dumps(squeeze))):
        torch.testing.assert_close(twin(x), expected, rtol=0, atol=0)
    axes = {0: Dim.DYNAMIC} if name == "depthwise-conv" else {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    program = torch.export.export(squeeze, (x,), dynamic_shapes=(axes,))
    other = torch.randn(2, 16, *(SIZE if name == "depthwise-conv" else (8, 15)))
    torch.testing.assert_close(program.module()(other), squeeze(other))


@every
def test_refuses_what_is_no_map(name):
    with pytest.raises(ValueError, match=r"\(B, C, H, W\)"):
        create(name)(torch.randn(16, *SIZE))


@pytest.mark.parametrize("name", ["dct", "depthwise-conv", "covariance", "score"])
def test_refuses_other_channels(name):
    with pytest.raises(ValueError, match=r"built for 16 channels, got .*\(2, 8, 7, 9\).*channels=8"):
        create(name)(torch.randn(2, 8, *SIZE))


def test_device_and_dtype():
    for name in list_squeezes():
        squeeze = create_squeeze(name, 16, size=SIZE, device="meta", dtype=torch.float64)
        assert all(parameter.is_meta and parameter.dtype == torch.float64 for parameter in squeeze.parameters())


class TestGeM:
    def test_learns_its_exponent(self):
        squeeze = GeM(2.5, dtype=torch.float64)
        x = torch.rand(2, 3, 4, 5, dtype=torch.float64) + 0.1

        def pooled(x, exponent):
            return torch.func.functional_call(squeeze, {"exponent": exponent}, (x,))

        assert torch.autograd.gradcheck(pooled, (x.requires_grad_(), squeeze.exponent))

    def test_goes_from_the_mean_to_the_maximum(self):
        x = torch.rand(2, 3, 4, 5) + 0.1
        torch.testing.assert_close(GeM(1.0)(x), x.mean((2, 3)))
        torch.testing.assert_close(GeM(5000.0)(x), x.amax((2, 3)), rtol=1e-3, atol=0)

    def test_sees_what_is_positive(self):
        x = torch.randn(2, 3, 4, 5)
        torch.testing.assert_close(GeM()(x), GeM()(x.relu()))

    def test_refuses_no_exponent(self):
        with pytest.raises(ValueError, match="exponent must be above 0, got 0"):
            GeM(0)


class TestLogSumExp:
    def test_lies_between_mean_and_maximum(self):
        x = 30 * torch.randn(2, 3, 4, 5)
        values = [LogSumExp(sharpness=sharpness)(x) for sharpness in (1e-4, 0.05, 1.0, 100.0)]
        torch.testing.assert_close(values[0], x.mean((2, 3)), rtol=0, atol=0.2)
        assert all((lower < upper).all() for lower, upper in pairwise(values))
        torch.testing.assert_close(values[3], x.amax((2, 3)), rtol=0, atol=0.1)

    def test_refuses_no_sharpness(self):
        with pytest.raises(ValueError, match="sharpness must be above 0, got -1"):
            LogSumExp(sharpness=-1)

    def test_shows_its_sharpness(self):
        assert repr(LogSumExp(sharpness=2)) == "LogSumExp(sharpness=2)"


def test_softpool_is_the_score_pool_whose_scores_are_the_map():
    pool = ScorePool2d(3, scorer="channel")
    torch.nn.init.ones_(pool.weight)
    x = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(SoftPool()(x), pool(x))


class TestDCT:
    def test_frequencies_outlive_the_meta_device(self):
        x = torch.randn(2, 16, 8, 10)
        with torch.device("meta"):
            squeeze = DCT(16)
        squeeze.to_empty(device="cpu").load_state_dict({})
        torch.testing.assert_close(squeeze(x), DCT(16)(x))
        assert DCT(16).half().pairs.dtype == torch.int64
        assert str(DCT(16).to("meta").pairs.device) == "meta"

    def test_first_frequency_is_the_mean(self):
        x = torch.randn(2, 3, 8, 10)
        torch.testing.assert_close(DCT(3, frequencies=1)(x), x.mean((2, 3)) * 80**0.5)

    def test_frequencies_are_orthonormal(self):
        """Fed with one frequency, it finds one in the channels of that frequency and nothing in the others."""
        squeeze = DCT(32, frequencies=32).double()
        pixels = torch.eye(49, dtype=torch.float64).reshape(49, 1, 7, 7).expand(49, 32, 7, 7)
        basis = squeeze(pixels)
        torch.testing.assert_close(basis.T @ basis, torch.eye(32, dtype=torch.float64))

    @pytest.mark.parametrize("size", [(7, 8), (14, 7), (16, 15)])
    @pytest.mark.parametrize("of_map", [(3, 5), (7, 8), (13, 10)])
    def test_averages_the_map_to_its_size(self, size, of_map):
        x = torch.randn(2, 16, *of_map, dtype=torch.float64)
        averaged = F.adaptive_avg_pool2d(x, size)
        torch.testing.assert_close(DCT(16, size=size)(x), DCT(16)(averaged))

    @pytest.mark.parametrize("size", [(6, 9), (9, 6), (1, 1)])
    def test_refuses_small_maps(self, size):
        with pytest.raises(ValueError, match=rf"under 7 pixels.*got {size[0]}x{size[1]}; build it with size=7"):
            DCT(16)(torch.randn(2, 16, *size))
        assert DCT(16, size=7)(torch.randn(2, 16, *size)).shape == (2, 16)

    def test_refuses_what_it_cannot_split(self):
        with pytest.raises(
            ValueError, match=r"divide the channels, got 16 for 20 channels; take frequencies=1 or 2 or 4"
        ):
            DCT(20)
        with pytest.raises(ValueError, match="frequencies must be 1 to 32, got 33"):
            DCT(33, frequencies=33)
        with pytest.raises(ValueError, match=r"size must be 7 or more.*got \(7, 6\)"):
            DCT(16, size=(7, 6))

    def test_shows_what_it_is(self):
        assert repr(DCT(8, frequencies=4, size=7)) == "DCT(8, frequencies=4, size=(7, 7))"


class TestDepthwiseConv:
    def test_refuses_maps_of_another_size(self):
        with pytest.raises(ValueError, match=r"maps of 7x9, got 9x7; build it with size=\(9, 7\)"):
            create("depthwise-conv", 4)(torch.randn(2, 4, 9, 7))

    def test_must_know_the_size(self):
        with pytest.raises(ValueError, match=r"size=\(height, width\), or squeeze=functools.partial"):
            create_squeeze("depthwise-conv", 4)

    def test_shows_what_it_is(self):
        assert repr(DepthwiseConv(4, size=7)) == "DepthwiseConv(4, size=(7, 7))"


class TestCovariance:
    def test_is_that_of_torch(self):
        x = torch.randn(2, 5, 4, 3, dtype=torch.float64)
        expected = torch.stack([image.flatten(1).cov(correction=0) for image in x])
        torch.testing.assert_close(Covariance(5)(x), expected)

    def test_reduced(self):
        squeeze = Covariance(6, reduced=3).eval()
        values = squeeze(torch.randn(2, 6, 4, 3))
        assert values.shape == (2, 3, 3)
        with pytest.raises(ValueError, match="all 6 channels, and the squeeze gives those of 3"):
            statistics_of(squeeze, 6)
        with pytest.raises(ValueError, match="reduced must be 1 or more, got 0"):
            Covariance(6, reduced=0)

    def test_shows_what_it_is(self):
        assert repr(Covariance(6)) == "Covariance(6)"
        assert repr(Covariance(6, reduced=3)).startswith("Covariance(\n  6, reduced=3\n")


class TestCreate:
    def test_takes_a_module(self):
        pool = Mean()
        assert create_squeeze(pool, 4) is pool

    def test_takes_a_function_of_the_channels(self):
        pool = create_squeeze(partial(ScorePool2d, heads=2), 4)
        assert (pool.channels, pool.heads) == (4, 2)

    def test_refuses_other_names(self):
        with pytest.raises(
            ValueError, match=r"unknown squeeze 'soft-pool': did you mean 'softpool'\? known: mean, max, "
        ):
            create_squeeze("soft-pool", 4)

    def test_a_module_that_does_not_say_gives_one(self):
        assert statistics_of(torch.nn.AdaptiveAvgPool2d(1), 4) == 1


@pytest.mark.parametrize("size", [0, (3,), (3, 0), (3, 4, 5), 2.5, "7", None], ids=repr)
def test_refuses_what_is_no_size(size):
    with pytest.raises(ValueError, match="size must be a whole number above 0"):
        height_and_width(size)
