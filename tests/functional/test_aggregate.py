"""Score-based aggregation against a literal loop, and the facts that define it."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import saam
from reference import score_aggregate as literal
from saam.functional import score_weights

SHAPES = [(2, 6, 5, 7, 1), (3, 6, 4, 3, 2), (1, 6, 3, 5, 6), (2, 5, 1, 1, 1), (1, 1, 2, 2, 1), (2, 8, 1, 9, 4)]


def draw(shape, dtype=torch.float64):
    batch, channels, height, width, heads = shape
    x = torch.randn(batch, channels, height, width, dtype=torch.float64)
    scores = 2 * torch.randn(batch, heads, height, width, dtype=torch.float64)
    return x.to(dtype), scores.to(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_equals_the_literal_sum(shape, temperature):
    x, scores = draw(shape)
    expected = torch.tensor(literal(x.tolist(), scores.tolist(), temperature), dtype=torch.float64)
    torch.testing.assert_close(saam.score_aggregate(x, scores, temperature=temperature), expected)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradients_and_their_gradients(shape):
    inputs = tuple(tensor.requires_grad_() for tensor in draw(shape))
    assert torch.autograd.gradcheck(saam.score_aggregate, inputs)
    assert torch.autograd.gradgradcheck(saam.score_aggregate, inputs)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_accumulates_in_float32(dtype):
    x, scores = draw((2, 6, 40, 50, 2), dtype)
    x = x + 100
    exact = saam.score_aggregate(x.double(), scores.double())
    context = saam.score_aggregate(x, scores)
    assert context.dtype == dtype
    # one rounding of the result to the dtype, not one for each of the 2000 pixels
    bound = torch.finfo(dtype).eps + 8 * torch.finfo(torch.float32).eps
    assert ((context.double() - exact).abs() / exact.abs()).max() <= bound


@pytest.mark.parametrize("heads", [1, 2])
def test_any_memory_layout(heads):
    x, scores = draw((2, 6, 5, 7, heads))
    expected = saam.score_aggregate(x, scores)
    for view in (
        x.to(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
        torch.randn(2, 6, 5, 14, dtype=x.dtype)[..., ::2].copy_(x),
        x.transpose(0, 1).contiguous().transpose(0, 1),
    ):
        torch.testing.assert_close(saam.score_aggregate(view, scores), expected)
    other = scores.to(memory_format=torch.channels_last)
    torch.testing.assert_close(saam.score_aggregate(x, other), expected)
    flat = scores[:, :, :1, :1].expand_as(scores)
    torch.testing.assert_close(saam.score_aggregate(x, flat), x.mean((2, 3)))


def test_one_dominating_score_selects_its_pixel():
    x, scores = draw((2, 6, 5, 7, 2))
    scores[:, 0, 3, 4] = scores[:, 1, 0, 6] = 1e4
    context = saam.score_aggregate(x, scores)
    torch.testing.assert_close(context, torch.cat((x[:, :3, 3, 4], x[:, 3:, 0, 6]), 1))


def test_channel_scores_go_from_minimum_over_mean_to_maximum():
    x, _ = draw((2, 6, 5, 7, 1))
    for slope, expected in ((-1e4, x.amin((2, 3))), (0.0, x.mean((2, 3))), (1e4, x.amax((2, 3)))):
        torch.testing.assert_close(saam.score_aggregate(x, slope * x), expected)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 6),
    st.floats(0.05, 20),
    st.floats(-1e4, 1e4),
    st.integers(0, 2**31),
)
def test_properties(batch, heads, group, height, width, temperature, constant, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, heads * group, height, width, generator=generator, dtype=torch.float64)
    scores = torch.randn(batch, heads, height, width, generator=generator, dtype=torch.float64)
    context = saam.score_aggregate(x, scores, temperature=temperature)

    weights = score_weights(scores, temperature=temperature)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones(batch, heads, dtype=torch.float64))
    assert (context <= x.amax((2, 3)) + 1e-12).all()
    assert (context >= x.amin((2, 3)) - 1e-12).all()

    shifted = saam.score_aggregate(x, scores + constant, temperature=temperature)
    torch.testing.assert_close(shifted, context, rtol=1e-6, atol=1e-6)
    order = torch.randperm(height * width, generator=generator)
    shuffled = saam.score_aggregate(
        x.flatten(2)[..., order].view_as(x), scores.flatten(2)[..., order].view_as(scores), temperature=temperature
    )
    torch.testing.assert_close(shuffled, context)
    torch.testing.assert_close(
        saam.score_aggregate(x, torch.full_like(scores, constant), temperature=temperature), x.mean((2, 3))
    )


def test_extreme_scores_stay_finite():
    x, scores = draw((2, 6, 5, 7, 3), torch.float32)
    x.requires_grad_()
    scores = (1e4 * scores).requires_grad_()
    saam.score_aggregate(x, scores).square().sum().backward()
    assert x.grad.isfinite().all()
    assert scores.grad.isfinite().all()


def test_nan_is_not_hidden():
    x, scores = draw((1, 2, 3, 3, 2))
    x[0, 1, 2, 2] = math.nan
    context = saam.score_aggregate(x, scores)
    assert context[0, 0].isfinite()
    assert context[0, 1].isnan()


@pytest.mark.parametrize(
    ("x", "scores", "options", "error", "message"),
    [
        (torch.ones(4, 3, 3), torch.ones(1, 1, 3, 3), {}, ValueError, r"x must be .*\(B, C, H, W\), got \(4, 3, 3\)"),
        (torch.ones(1, 4, 3, 3), torch.ones(1, 3, 3), {}, ValueError, r"scores must be .*got \(1, 3, 3\)"),
        (torch.ones(1, 4, 3, 3), torch.ones(1, 3, 3, 3), {}, ValueError, "3 score maps cannot share 4 channels"),
        (torch.ones(1, 4, 3, 3), torch.ones(1, 1, 3, 4), {}, ValueError, r"\(1, G, 3, 3\).*got \(1, 1, 3, 4\)"),
        (torch.ones(2, 4, 3, 3), torch.ones(1, 1, 3, 3), {}, ValueError, r"\(2, G, 3, 3\)"),
        (torch.ones(1, 4, 0, 3), torch.ones(1, 1, 0, 3), {}, ValueError, "at least one channel and one pixel"),
        (torch.ones(1, 4, 3, 3).int(), torch.ones(1, 1, 3, 3), {}, TypeError, "floating dtype, got torch.int32"),
        (torch.ones(1, 4, 3, 3), torch.ones(1, 1, 3, 3), {"temperature": 0}, ValueError, "above 0, got 0"),
        (torch.ones(1, 4, 3, 3), torch.ones(1, 1, 3, 3), {"temperature": math.nan}, ValueError, "above 0, got nan"),
        (torch.ones(1, 4, 3, 3), torch.ones(1, 1, 3, 3), {"backend": "cuda"}, ValueError, "auto, eager, fused"),
    ],
)
def test_bad_input(x, scores, options, error, message):
    with pytest.raises(error, match=message):
        saam.score_aggregate(x, scores, **options)


def test_compiles_without_a_break():
    x, scores = draw((2, 6, 5, 7, 2))
    compiled = torch.compile(saam.score_aggregate, fullgraph=True, backend="aot_eager", dynamic=True)
    torch.testing.assert_close(compiled(x, scores), saam.score_aggregate(x, scores))


def test_a_temperature_that_wants_a_gradient_is_refused():
    with pytest.raises(TypeError, match="divide the scores"):
        saam.score_aggregate(torch.ones(1, 2, 2, 2), torch.ones(1, 1, 2, 2), temperature=torch.tensor(2.0))
