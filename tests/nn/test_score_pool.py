"""The score pool: its maps against numbers worked by hand, its start, and its options."""

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import reference
import saam
from saam import SAAM, ScorePool, ScorePool2d
from saam.functional.fused.operations import dense
from saam.nn import MeanScore


def pool_with(weight, **options):
    pool = ScorePool2d(**options)
    with torch.no_grad():
        pool.weight.copy_(torch.as_tensor(weight, dtype=pool.weight.dtype).reshape(pool.weight.shape))
    return pool


def test_worked_by_hand():
    """Two channels, two pixels: scores a + 2b, temperature 2, weights e^s / (e^s + e^t)."""
    x = torch.tensor([[[[1.0, 3.0]], [[0.5, -1.0]]]])
    pool = pool_with([1.0, 2.0], channels=2, temperature=2.0)
    scores = (1 + 2 * 0.5, 3 + 2 * -1.0)  # 2 and 1
    first = math.exp(scores[0] / 2) / (math.exp(scores[0] / 2) + math.exp(scores[1] / 2))
    assert first == pytest.approx(0.622459, abs=1e-6)
    torch.testing.assert_close(pool.scores(x), torch.tensor([[[list(scores)]]]))
    torch.testing.assert_close(pool.score_map(x), torch.tensor([[[[first, 1 - first]]]]))
    expected = [first * 1.0 + (1 - first) * 3.0, first * 0.5 + (1 - first) * -1.0]
    torch.testing.assert_close(pool(x), torch.tensor([expected]))


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
def test_equals_the_literal_reference(heads):
    x = torch.randn(2, 6, 4, 5, dtype=torch.float64, requires_grad=True)
    pool = ScorePool2d(6, heads=heads, bias=True, dtype=torch.float64)
    nn.init.normal_(pool.weight)
    nn.init.normal_(pool.bias)
    expected = reference.attention_pool(x, pool.weight, pool.bias, 1)
    torch.testing.assert_close(pool(x), expected)
    assert torch.autograd.gradcheck(pool, (x,))


def test_starts_as_the_mean_and_learns_from_there():
    pool, x = ScorePool2d(6, heads=3, kernel_size=3), torch.randn(2, 6, 4, 5)
    torch.testing.assert_close(pool(x), x.mean((2, 3)))
    (pool(x) * torch.randn(2, 6)).sum().backward()
    assert (pool.weight.grad.flatten(1).abs().amax(1) > 0).all()


def test_channel_scorer_goes_from_the_minimum_through_the_mean_to_the_maximum():
    x = torch.randn(2, 3, 4, 5)
    for weight, expected in ((-1e4, x.amin((2, 3))), (0, x.mean((2, 3))), (1e4, x.amax((2, 3)))):
        pool = pool_with([weight] * 3, channels=3, scorer="channel")
        torch.testing.assert_close(pool(x), expected, rtol=1e-4, atol=1e-4)
    assert pool.heads == 3


def test_heads_weigh_their_own_channels():
    x = torch.randn(2, 4, 3, 5)
    weight = torch.zeros(2, 4)
    weight[1, 0] = 1e4  # the second head follows channel 0, the first is a mean
    pool = pool_with(weight, channels=4, heads=2)
    place = x[:, 0].flatten(1).argmax(1)
    torch.testing.assert_close(pool(x)[:, :2], x[:, :2].mean((2, 3)))
    picked = x.flatten(2)[torch.arange(2), :, place]
    torch.testing.assert_close(pool(x)[:, 2:], picked[:, 2:], rtol=1e-4, atol=1e-4)


def test_maps_sum_to_one():
    pool = ScorePool2d(6, heads=2)
    nn.init.normal_(pool.weight)
    maps = pool.score_map(torch.randn(3, 6, 4, 5).bfloat16())
    assert maps.shape == (3, 2, 4, 5)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(3, 2))


def test_a_bias_changes_nothing():
    x = torch.randn(2, 6, 4, 5)
    pool = ScorePool2d(6, bias=True)
    nn.init.normal_(pool.weight)
    before = pool(x)
    nn.init.constant_(pool.bias, 30.0)
    torch.testing.assert_close(pool(x), before)


@pytest.mark.parametrize(
    ("options", "root"),
    [
        ({}, 4.0),
        ({"heads": 4}, 4.0),
        ({"kernel_size": 3}, 12.0),
        ({"scorer": "channel"}, 1.0),
        ({"scorer": "channel", "kernel_size": 3}, 3.0),
    ],
    ids=str,
)
def test_temperature_is_one_or_the_root_of_the_fan_in(options, root):
    assert ScorePool2d(16, **options).temperature == 1
    pool = ScorePool2d(16, temperature="sqrt", **options)
    assert pool.temperature == root
    assert pool.weight[0].numel() == root**2


class Brightness(nn.Module):
    """Two maps, by a scorer that is no convolution: the mean over channels times a learned gain, and its negative."""

    def __init__(self, channels):
        super().__init__()
        self.gain = nn.Parameter(torch.full((), 0.5))

    def forward(self, x):
        bright = self.gain * x.mean(1, keepdim=True)
        return torch.cat((bright, -bright), 1)


@pytest.mark.parametrize("scorer", [Brightness, Brightness(4)], ids=["function", "module"])
def test_takes_a_scorer_of_the_users_own(scorer):
    x = torch.randn(2, 4, 3, 5, dtype=torch.float64)
    pool = ScorePool2d(4, scorer=scorer, temperature=2.0, dtype=torch.float64)
    scores = torch.stack((0.25 * x.mean(1), -0.25 * x.mean(1)), 1)
    weights = scores.flatten(2).softmax(-1)
    expected = torch.einsum("bgn,bgcn->bgc", weights, x.reshape(2, 2, 2, 15)).flatten(1)
    torch.testing.assert_close(pool(x), expected)
    torch.testing.assert_close(pool.score_map(x).flatten(2), weights)
    (gain,) = torch.autograd.grad(pool(x).square().sum(), pool.scorer.gain)
    assert gain.abs() > 0
    assert list(pool.state_dict()) == ["scorer.gain"]
    assert pool.no_weight_decay() == {"scorer.gain"}
    assert "scorer): Brightness" in repr(pool)


@pytest.mark.parametrize(
    ("scorer", "got"),
    [
        (nn.Conv2d(4, 3, 1), r"\(2, 3, 3, 5\)"),
        (nn.Conv2d(4, 1, 3), r"\(2, 1, 1, 3\)"),
        (nn.Flatten(2), r"\(2, 4, 15\)"),
        (nn.AdaptiveMaxPool2d((3, 5), return_indices=True), "tuple"),
    ],
    ids=["heads", "size", "axes", "no tensor"],
)
def test_scorers_that_give_something_else_are_refused(scorer, got):
    pool, x = ScorePool2d(4, scorer=scorer), torch.randn(2, 4, 3, 5)
    for call in (pool, pool.score_map, SAAM(4, scorer=scorer)):
        expected = rf"must give scores .* = \(2, G, 3, 5\), where G divides the 4 channels; it gave {got}"
        with pytest.raises(ValueError, match=expected):
            call(x)


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (5, "scorer must be 'pixel', 'channel', a module, .* got 5"),
        (lambda channels: None, "must return a module .* got None"),
    ],
)
def test_scorers_that_are_none(scorer, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ScorePool2d(4, scorer=scorer)


def test_the_scorer_is_trained_without_weight_decay():
    assert ScorePool2d(4, bias=True).no_weight_decay() == {"weight", "bias"}


def test_mean_and_score_side_by_side():
    x = torch.randn(2, 6, 4, 5)
    squeeze = MeanScore(6, heads=2, temperature=0.5)
    nn.init.normal_(squeeze.pool.weight)
    torch.testing.assert_close(squeeze(x)[:, 0], x.mean((2, 3)))
    torch.testing.assert_close(squeeze(x)[:, 1], squeeze.pool(x))
    assert not torch.allclose(squeeze(x)[:, 0], squeeze(x)[:, 1])
    assert (squeeze.pool.heads, squeeze.pool.temperature) == (2, 0.5)


@pytest.mark.parametrize(
    ("shape", "dim"),
    [((2, 6, 7), 1), ((2, 6, 2, 3, 4), 1), ((2, 7, 6), -1), ((2, 4, 5, 6), -1)],
    ids=["sequence", "volume", "tokens", "channels last"],
)
def test_pools_any_number_of_axes(shape, dim):
    """Against the two-dimensional pool on the positions written one after the other."""
    pool = ScorePool(6, heads=2, temperature=0.5, dim=dim)
    nn.init.normal_(pool.pool.weight)
    x = torch.randn(shape)
    positions = x.movedim(dim, 1).reshape(2, 6, -1)
    scores = torch.einsum("gc,bcn->bgn", pool.pool.weight.flatten(1), positions) / 0.5
    weights = scores.softmax(-1)
    expected = torch.einsum("bgn,bgcn->bgc", weights, positions.reshape(2, 2, 3, -1)).flatten(1)
    torch.testing.assert_close(pool(x), expected)
    places = [size for axis, size in enumerate(shape) if axis not in (0, dim % len(shape))]
    torch.testing.assert_close(pool.score_map(x), weights.reshape(2, 2, *places))


def test_tokens_are_pooled_where_they_are():
    tokens = torch.randn(2, 7, 6)
    assert dense(ScorePool(6, dim=-1)._as_map(tokens)).data_ptr() == tokens.data_ptr()


def test_is_one_call_for_fx():
    for pool, x in ((ScorePool2d(6), torch.randn(2, 6, 3, 4)), (ScorePool(6), torch.randn(2, 6, 5))):
        traced = torch.fx.symbolic_trace(nn.Sequential(nn.ReLU(), pool))
        assert [node.target for node in traced.graph.nodes if node.op == "call_module"] == ["0", "1"]
        torch.testing.assert_close(traced(x), pool(x.relu()))


def test_any_number_of_axes_refuses_what_has_no_position():
    with pytest.raises(ValueError, match=r"expected \(B, C, positions\.\.\.\) with C = 6 .* got \(2, 6\)"):
        ScorePool(6)(torch.randn(2, 6))
    with pytest.raises(ValueError, match=r"C = 6 on axis -1, got \(2, 6, 7\)"):
        ScorePool(6, dim=-1)(torch.randn(2, 6, 7))


def test_a_larger_kernel_sees_the_neighbours():
    weight = torch.zeros(1, 2, 3, 3)
    weight[0, 0, 1, 2] = 1e4  # the score of a pixel is its right neighbour's value in channel 0
    pool = pool_with(weight, channels=2, kernel_size=3)
    x = torch.zeros(1, 2, 3, 4)
    x[0, 0, 1, 2] = 1.0
    x[0, 1, 1, 1] = 7.0
    torch.testing.assert_close(pool(x)[0, 1], torch.tensor(7.0))


def test_keepdim_stands_in_for_a_pooling_layer():
    x = torch.randn(2, 6, 4, 5)
    pooled = ScorePool2d(6, keepdim=True)(x)
    assert pooled.shape == (2, 6, 1, 1)
    torch.testing.assert_close(pooled, nn.AdaptiveAvgPool2d(1)(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_scores_do_not_overflow(dtype):
    pool = pool_with([100.0] * 16, channels=16)
    x = (100 + torch.randn(2, 16, 4, 5)).to(dtype)  # scores of 160,000
    with torch.autocast("cpu", dtype=dtype):
        context = pool(x)
    assert context.dtype == dtype
    torch.testing.assert_close(context.double(), pool.double()(x.double()), rtol=1e-2, atol=0)


def test_is_not_initialised_anew_with_the_convolutions_of_a_network():
    network = nn.Sequential(nn.Conv2d(3, 6, 3), ScorePool2d(6))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.ones_(module.weight)
    assert not network[1].weight.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels must be a whole number above 0, got 0"),
        ({"scorer": "row"}, "scorer must be one of pixel, channel, or a module, got 'row'"),
        ({"heads": 4}, "heads must divide the channels, got heads=4 for channels=6"),
        ({"heads": 0}, "heads must divide the channels, got heads=0"),
        ({"heads": 2, "scorer": "channel"}, "leave heads out, got heads=2"),
        ({"kernel_size": 2}, "kernel_size must be odd, .*, got 2"),
        ({"temperature": 0}, "temperature must be above 0, or 'sqrt', got 0"),
        ({"temperature": math.nan}, "temperature must be above 0, or 'sqrt', got nan"),
        ({"temperature": None}, "temperature must be above 0, or 'sqrt', got None"),
        ({"temperature": "root"}, "temperature must be above 0, or 'sqrt', got 'root'"),
        ({"scorer": Brightness, "heads": 2}, "heads, .* belong to the scorers 'pixel' and 'channel'"),
        ({"scorer": Brightness, "heads": 1}, "heads, .* belong to the scorers 'pixel' and 'channel'"),
        ({"scorer": Brightness, "temperature": "sqrt"}, "temperature='sqrt' belong to the scorers"),
    ],
)
def test_refuses_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ScorePool2d(**{"channels": 6} | options)


@pytest.mark.parametrize("options", [{"heads": 2.0}, {"heads": "2"}, {"kernel_size": (3, 3)}, {"heads": True}], ids=str)
def test_counts_are_whole_numbers(options):
    ((name, value),) = options.items()
    with pytest.raises(TypeError, match=re.escape(f"{name} must be a whole number, got {value!r}")):
        ScorePool2d(6, **options)


def test_counts_may_be_numpy_integers():
    pool = ScorePool2d(np.int64(6), heads=np.int64(2), kernel_size=np.int32(3))
    assert {type(pool.channels), type(pool.heads), type(pool.kernel_size)} == {int}


def test_refuses_bad_input():
    pool = ScorePool2d(6)
    with pytest.raises(ValueError, match=r"built for 6 channels, .*\(2, 5, 4, 5\).*channels=5"):
        pool(torch.randn(2, 5, 4, 5))
    with pytest.raises(ValueError, match=r"\(B, C, H, W\), got \(6, 4, 5\)"):
        pool(torch.randn(6, 4, 5))
    with pytest.raises(TypeError, match="floating"):
        pool(torch.ones(2, 6, 4, 5, dtype=torch.long))


def test_shows_what_sets_it_apart():
    assert (
        repr(ScorePool2d(64, heads=4, kernel_size=3, temperature="sqrt"))
        == "ScorePool2d(64, heads=4, scorer='pixel', kernel_size=3, temperature=24)"
    )


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_a_pool_that_keeps_its_dimensions_is_no_squeeze_with_any_backend(backend):
    attention = saam.create_attention("se", 8, squeeze=saam.ScorePool2d(8, keepdim=True))
    with saam.use_backend(backend), pytest.raises(ValueError, match="statistics"):
        attention(torch.randn(2, 8, 5, 6))
