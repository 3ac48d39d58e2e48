"""The grammar: the dtype of the excitation, what replaces a part, and what observes it."""

import pytest
import torch
from torch import nn
from torch.nn.modules import module as hooks

import saam
from saam.nn import ChannelAttention, ScorePool2d, create_attention


class Quantised(nn.Module):
    """A layer whose weight is uint8, as after quantisation to 4 bits, and whose bias is not."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, dtype=torch.uint8), requires_grad=False)
        self.bias = nn.Parameter(torch.linspace(-1, 1, channels))

    def forward(self, statistics):
        assert statistics.dtype == self.bias.dtype
        return statistics * self.weight + self.bias


def test_the_excitation_computes_in_the_dtype_of_its_first_floating_parameter():
    attention, x = ChannelAttention(ScorePool2d(4), Quantised(4), nn.Sigmoid()), torch.randn(2, 4, 5, 6)
    expected = x * (x.mean((2, 3)) + attention.excitation.bias).sigmoid()[:, :, None, None]
    torch.testing.assert_close(attention(x), expected)
    torch.testing.assert_close(attention(x.bfloat16()).float(), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("squeeze", ["mean", "score"])
def test_a_forward_set_on_the_squeeze_is_used(squeeze, backend):
    attention, x = create_attention("se", 8, squeeze=squeeze), torch.randn(2, 8, 5, 6)
    expected = create_attention("se", 8, squeeze="max")
    expected.excitation = attention.excitation
    attention.squeeze.forward = lambda x: x.amax((2, 3))
    with saam.use_backend(backend):
        torch.testing.assert_close(attention(x), expected(x))


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_scores_set_on_the_pool_are_used(backend):
    attention, x = saam.SAAM(8), torch.randn(2, 8, 5, 6)
    scores = torch.randn(2, 1, 5, 6)
    attention.squeeze.scores = lambda x: scores
    with saam.use_backend(backend):
        context = attention.squeeze(x)
        torch.testing.assert_close(context, saam.score_aggregate(x, scores))
        torch.testing.assert_close(attention(x), saam.rescale(x, attention.respond(context)))


@pytest.mark.parametrize(
    "register",
    [
        lambda seen: hooks.register_module_forward_hook(lambda module, x, y: seen.append(module)),
        lambda seen: hooks.register_module_forward_pre_hook(lambda module, x: seen.append(module)),
        lambda seen: hooks.register_module_full_backward_hook(lambda module, dx, dy: seen.append(module)),
        lambda seen: hooks.register_module_full_backward_pre_hook(lambda module, dy: seen.append(module)),
    ],
    ids=["forward", "forward_pre", "backward", "backward_pre"],
)
def test_hooks_of_all_modules_see_the_squeeze(register):
    attention, seen = saam.SAAM(8), []
    handle = register(seen)
    try:
        attention(torch.randn(2, 8, 5, 6, requires_grad=True)).sum().backward()
    finally:
        handle.remove()
    assert attention.squeeze in seen


class Adapter(nn.Module):
    """A layer without its attributes, as adapters of low rank wrap it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


@pytest.mark.parametrize("name", ["se", "ese", "cbam-channel", "bam-channel", "gc", "ge-plus", "gsop", "eca"])
def test_layers_of_the_excitation_may_be_wrapped(name):
    attention, x = create_attention(name, 16, **({"size": 8} if name == "ge-plus" else {})), torch.randn(2, 16, 8, 8)
    expected = attention(x)
    for part in list(attention.excitation.modules()):
        for key, child in part.named_children():
            if isinstance(child, nn.Linear | nn.Conv1d):
                setattr(part, key, Adapter(child))
    assert any(isinstance(part, Adapter) for part in attention.modules())
    torch.testing.assert_close(attention(x), expected)
