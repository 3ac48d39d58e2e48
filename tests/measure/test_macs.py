import pytest
import torch
from torch import nn

from saam.measure import count_macs
from saam.models import create_model
from saam.nn import create_attention

H, W = 6, 5
N = H * W


class Function(nn.Module):
    """A network that is one function of the image (1, 3, 6, 5)."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("layer", "macs"),
    [
        (nn.Conv2d(3, 8, 3, padding=1), 8 * 3 * 9 * N),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), 8 * 3 * 9 * 9),
        (nn.Conv2d(3, 6, 3, padding=1, groups=3), 6 * 9 * N),
        (nn.ConvTranspose2d(3, 4, 2, stride=2), 3 * 4 * 4 * N),
        (nn.Linear(W, 7), 3 * H * W * 7),
        (nn.Linear(W, 7, bias=False), 3 * H * W * 7),
        (nn.BatchNorm2d(3), 3 * N),
        (nn.GroupNorm(3, 3), 4 * 3 * N),
        (nn.LayerNorm([H, W]), 4 * 3 * N),
        (nn.ReLU(inplace=True), 3 * N),
        (nn.MaxPool2d(2), 3 * 3 * 2 * 4),
        (nn.AvgPool2d((3, 2)), 3 * 2 * 2 * 6),
        (nn.AdaptiveAvgPool2d(1), 3 * N),
        (nn.Flatten(), 0),
        (nn.ZeroPad2d(1), 0),
        (nn.Dropout(), 0),
    ],
)
def test_layers_have_the_hand_worked_number(layer, macs):
    assert count_macs(layer, (H, W)) == macs


@pytest.mark.parametrize(
    ("function", "macs"),
    [
        (lambda x: x.mean((2, 3)), 3 * N),
        (lambda x: x.amax((2, 3)), 3 * N),
        (lambda x: x.std((2, 3)), 2 * 3 * N),
        (lambda x: x.flatten(2).softmax(-1), 3 * 3 * N),
        (lambda x: x.logsumexp((2, 3)), 2 * 3 * N),
        (lambda x: x * x.mean((2, 3), keepdim=True), 3 * N + 3 * N),
        (lambda x: x + x, 3 * N),
        (lambda x: x[:, :, 1:].transpose(2, 3).contiguous(), 0),
        (lambda x: torch.cat((x, x), 1).clone(), 0),
        (lambda x: torch.einsum("bcn,bn->bc", x.flatten(2), x[:, 0].flatten(1)), 3 * N),
        (lambda x: (x.flatten(2) * x[:, :1].flatten(2)).sum(-1), 3 * N + 3 * N),
        (lambda x: nn.functional.scaled_dot_product_attention(x, x, x), 3 * H * H * (W + 3 + W)),
    ],
)
def test_operations_have_the_hand_worked_number(function, macs):
    assert count_macs(Function(function), (H, W)) == macs


def test_a_squeeze_and_excitation_is_counted_to_the_last_operation():
    channels, hidden = 32, 2
    mean, scale, mlp = channels * N, channels * N, 2 * channels * hidden
    module = create_attention("se", channels)
    assert count_macs(module, (H, W), channels=channels) == mean + mlp + hidden + channels + scale


def test_the_score_squeeze_pays_for_scores_softmax_and_weighted_sum():
    channels = 32
    scores, softmax, weighted_sum, mean = channels * N, 3 * N, 2 * channels * N, channels * N
    score, plain = (count_macs(create_attention(name, channels), (H, W), channels=channels) for name in ("saam", "se"))
    extra = scores + softmax + weighted_sum - mean
    assert extra <= score - plain <= extra + 2 * N  # and the temperature, one or two passes over the scores


def test_resnet20_has_the_published_number():
    assert count_macs(create_model("resnet20"), (32, 32)) == 41_292_416  # 41.29 M in imgclsmob's table of CIFAR models


def test_counting_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_macs(model, (H, W))
    assert [module.training for module in model] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_operation_from_elsewhere_is_refused():
    with torch.library._scoped_library("saam_test", "DEF") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: 2 * x, "CompositeExplicitAutograd")
        with pytest.raises(ValueError, match=r"cannot count the operation saam_test\.twice"):
            count_macs(Function(torch.ops.saam_test.twice), (H, W))


def test_named_blocks_are_counted_by_their_parts():
    def named(x):
        with torch.profiler.record_function("activation"):
            return x.relu()

    assert count_macs(Function(named), (H, W)) == 3 * N
    assert count_macs(nn.DataParallel(nn.ReLU()), (H, W)) == 3 * N


def test_multihead_attention_is_counted_by_its_parts():
    """Projections 4 L d d; scores, softmax and weighted sum L L (2 d + 3 heads); biases and copies are a percent."""
    attention, length, width, heads = nn.MultiheadAttention(64, 4, batch_first=True), 50, 64, 4

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = attention

        def forward(self, x):
            tokens = x.new_zeros(1, length, width)
            return self.attention(tokens, tokens, tokens, need_weights=False)[0]

    before = torch.backends.mha.get_fastpath_enabled()
    expected = 4 * length * width * width + length * length * (2 * width + 3 * heads)
    assert count_macs(Tokens(), (4, 4)) == pytest.approx(expected, rel=0.05)
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_recurrent_networks_are_not_counted():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(3, 8)

        def forward(self, x):
            return self.lstm(x.flatten(2).permute(2, 0, 1))[0]

    with pytest.raises(ValueError, match="cannot count the operation"):
        count_macs(Recurrent(), (4, 4))
