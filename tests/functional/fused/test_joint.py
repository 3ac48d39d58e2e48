"""The joint operation against eager in float64, in every kind, dtype and layout, and in the life of a module."""

import copy
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import saam
from functional.fused.cases import (
    DTYPES,
    KINDS,
    SHAPES,
    check_accuracy,
    draw,
    errors,
    joint,
    module_and_input,
    needs_native,
    results,
)
from saam.functional.fused import MAX, MEAN, PIXEL, SCORES, VARIANCE, Pooling, pool
from saam.functional.fused.autograd import eager_squeeze

pytestmark = needs_native


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_results(name, dtype, layout):
    for shape in SHAPES:
        for adds in (False, True):
            check_accuracy(*KINDS[name], shape, dtype, layout, adds)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_error_is_at_most_twice_that_of_eager(name, dtype, layout):
    for shape in ((8, 64, 20, 21), (2, 16, 56, 60)):
        for key, (error, accepted, largest, _) in errors(*KINDS[name], shape, dtype, layout, False).items():
            assert error <= 2 * accepted + 1e-9 * largest, (key, shape)


@pytest.mark.parametrize("shape", [(1, 3, 224, 224), (2, 2048, 7, 7), (40, 4, 32, 32)], ids=str)
@pytest.mark.parametrize("name", ["mean", "max", "mean+std", "pixel", "channel"])
def test_results_on_large_maps(name, shape):
    for layout in (torch.contiguous_format, torch.channels_last):
        check_accuracy(*KINDS[name], shape, torch.float32, layout, False)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(KINDS)),
    batch=st.integers(1, 5),
    groups=st.integers(1, 40),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    adds=st.booleans(),
)
def test_accuracy_of_any_shape(name, batch, groups, height, width, dtype, layout, adds):
    check_accuracy(*KINDS[name], (batch, 2 * groups, height, width), dtype, layout, adds)


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(sorted(KINDS)), order=st.permutations(range(4)), step=st.integers(1, 2))
def test_any_strides(name, order, step):
    """Views with any order of axes and with gaps give what their dense copies give."""
    kind, heads = KINDS[name]
    x, scorer, dy, mix = draw(kind, heads, (3, 6, 5, 4), torch.float32, torch.contiguous_format)
    inverse = [order.index(i) for i in range(4)]

    def strided(t):
        padded = torch.full((*[t.shape[i] for i in order[:3]], t.shape[order[3]] * step), float("nan"))
        view = padded[..., ::step]
        view.copy_(t.permute(order))
        return view.permute(inverse)

    expected = results(joint, x, scorer, dy, mix, kind, False)
    actual = results(joint, strided(x), scorer, strided(dy), mix, kind, False)
    for key in expected:
        torch.testing.assert_close(actual[key], expected[key])


@pytest.mark.parametrize("spread", [1e4, 1e-4])
@pytest.mark.parametrize("name", ["pixel", "channel", "scores", "scores, 2 heads"])
def test_extreme_scores(name, spread):
    for shape in SHAPES:
        check_accuracy(*KINDS[name], shape, torch.float32, torch.contiguous_format, False, spread)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["nchw", "channels_last"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", KINDS)
def test_keeps_what_is_not_finite(name, value, layout):
    """NaN and infinity come out where eager has them, wherever in the map they go in."""
    kind, heads = KINDS[name]
    for place in ((0, 1, 0, 0), (1, 3, 44, 60), (1, 5, 20, 30)):
        x, scorer, _, _ = draw(kind, heads, (2, 6, 45, 61), torch.float32, layout)
        x[place] = value
        z = torch.ops.saam.squeeze(x, scorer, kind, 0.5, False)[0]
        torch.testing.assert_close(z, eager_squeeze(x, scorer, kind, 0.5), equal_nan=True)


def test_scores_of_minus_infinity_have_no_weight():
    x = torch.randn(1, 4, 30, 40)
    scores = torch.full((1, 2, 30, 40), -float("inf"))
    scores[0, :, 29, 39] = 0
    torch.testing.assert_close(saam.score_aggregate(x, scores, backend="fused"), x[:, :, 29, 39])
    scores[0, 1] = -float("inf")
    assert saam.score_aggregate(x, scores, backend="fused").isnan().tolist() == [[False, False, True, True]]


def test_tied_maxima_share_the_gradient():
    x = torch.tensor([[[[1.0, 3.0, 3.0], [0.0, 3.0, 2.0]]]], requires_grad=True)
    pool(x, Pooling(MAX)).sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[[[0, 1, 1], [0, 1, 0]]]]) / 3)


def test_constant_scores_give_exactly_the_mean():
    x = torch.randn(2, 8, 9, 9, dtype=torch.float64)
    pooled = saam.score_aggregate(x, torch.full((2, 2, 9, 9), 7.5, dtype=torch.float64), backend="fused")
    torch.testing.assert_close(pooled, x.mean((2, 3)), rtol=1e-15, atol=1e-16)


class Halved(saam.nn.Mean):
    def forward(self, x):
        return super().forward(x) / 2


class Brightest(saam.ScorePool2d):
    def scores(self, x):
        return 3 * x.amax(1, keepdim=True).float()


@pytest.mark.parametrize("squeeze", [Halved(), Brightest(8)], ids=["forward", "scores"])
def test_subclasses_compute_what_they_say(squeeze):
    module, x = module_and_input(rd_ratio=1)
    module.squeeze = squeeze
    expected = x * module.respond(squeeze(x))[:, :, None, None]
    torch.testing.assert_close(module(x), expected)
    if isinstance(squeeze, saam.ScorePool2d):
        weights = (3 * x.amax(1)).flatten(1).softmax(1)
        torch.testing.assert_close(squeeze(x), torch.einsum("bn,bcn->bc", weights, x.flatten(2)))


def test_copies():
    module, x = module_and_input()
    module(x)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    for twin in (copy.deepcopy(module), torch.load(buffer, weights_only=False)):
        torch.testing.assert_close(twin(x), module(x))


def test_autocast():
    module, x = module_and_input()
    with torch.autocast("cpu", torch.bfloat16):
        assert module(x).dtype == torch.float32
        half = module(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), module(x), atol=0.05, rtol=0.05)


def test_tensors_on_two_devices():
    with pytest.raises(RuntimeError, match=r"all tensors on cpu, .* got some on meta"):
        saam.SAAM(8, device="meta")(torch.ones(1, 8, 2, 2))
    with pytest.raises(RuntimeError, match=r"all tensors on cpu, .* got some on meta"):
        saam.score_aggregate(torch.ones(1, 8, 2, 2), torch.ones(1, 1, 2, 2, device="meta"), backend="fused")


@pytest.mark.parametrize("shape", [(4, 2), (2, 4, 1, 1), (2, 1), (8,)], ids=str)
def test_a_value_of_another_shape_is_refused_as_in_eager(shape):
    class Wrong(torch.nn.Module):
        def forward(self, statistics):
            return statistics.new_ones(shape)

    attention = saam.ChannelAttention(saam.ScorePool2d(4), Wrong(), torch.nn.Identity())
    for backend in ("eager", "fused"):
        with pytest.raises(ValueError, match=r"expected one value per image and channel, \(B, C\) = \(2, 4\)"):
            saam.use_backend(backend)(attention)(torch.ones(2, 4, 5, 6))


def test_scores_of_another_shape_are_refused_as_in_eager():
    class Turned(saam.ScorePool2d):
        def scores(self, x):
            return super().scores(x).mT

    for backend in ("eager", "fused"):
        with pytest.raises(ValueError, match=r"scores must be .* = \(2, G, 5, 6\) .* got \(2, 1, 6, 5\)"):
            saam.use_backend(backend)(Turned(4))(torch.ones(2, 4, 5, 6))
    with pytest.raises(ValueError, match="scores must be"):
        pool(torch.ones(2, 4, 5, 6), Pooling(SCORES, torch.ones(2, 1, 6, 5)))


def test_scores_that_are_wider_than_the_map_keep_their_digits():
    x, scores = torch.randn(2, 4, 5, 6), 3 * torch.randn(2, 2, 5, 6).double() + 1e8
    found = []
    for backend in ("fused", "eager"):
        leaves = [t.clone().requires_grad_() for t in (x, scores)]
        context = saam.score_aggregate(*leaves, backend=backend)
        found.append([context.detach(), *torch.autograd.grad(context.square().sum(), leaves)])
    for fused, eager in zip(*found, strict=True):
        torch.testing.assert_close(fused, eager, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("view", ["channels", "pixels", "images"])
def test_views_of_channels_last_stay_in_that_order(view):
    x = torch.randn(4, 8, 6, 7).contiguous(memory_format=torch.channels_last)
    x = {"channels": x.chunk(2, 1)[0], "pixels": x[:, :, 1:-1, 1:-1], "images": x[::2]}[view]
    y = saam.use_backend("fused")(saam.SAAM(x.shape[1]))(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert saam.use_backend("fused")(saam.SAAM(8))(torch.randn(2, 8, 1, 1).expand(2, 8, 5, 6)).is_contiguous()


def test_modules_may_change_the_statistics_in_place():
    x, found = torch.randn(2, 4, 5, 6), []
    attention = saam.ChannelAttention(saam.ScorePool2d(4), torch.nn.Identity(), torch.nn.Hardsigmoid(inplace=True))
    torch.nn.init.normal_(attention.squeeze.weight)
    for backend in ("fused", "eager"):
        leaf = x.clone().requires_grad_()
        y = saam.use_backend(backend)(attention)(leaf)
        found.append([y.detach(), *torch.autograd.grad(y.square().sum(), [leaf, attention.squeeze.weight])])
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("kind", [0, VARIANCE, MAX | VARIANCE, PIXEL | MEAN])
def test_an_unknown_kind_is_refused(kind):
    with pytest.raises(ValueError, match=rf"kind must be one of .*, got {kind}$"):
        pool(torch.ones(2, 4, 5, 6), Pooling(kind, torch.ones(1, 4)))


def test_second_gradients_of_equal_weights():
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    attention = saam.create_attention("saam", 4, temperature=math.inf).double()
    with saam.use_backend("fused"):
        assert torch.autograd.gradgradcheck(attention, x)
