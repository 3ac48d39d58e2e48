"""Excitations: K statistics by literal formulas, the start at zero, and what they refuse."""

import pytest
import torch
from torch import nn

import reference
from saam.nn import (
    BottleneckMLP,
    ChannelConv1d,
    ChannelNormalization,
    FullLinear,
    NoExcitation,
    NormedMLP,
    PerChannelLinear,
    PerChannelNorm,
    RowTransform,
    SharedMLP,
    create_attention,
)

CHANNELS = 6

BUILD = {
    "BottleneckMLP": lambda k, **o: BottleneckMLP(CHANNELS, 3, statistics=k, **o),
    "BottleneckMLP without biases": lambda k, **o: BottleneckMLP(CHANNELS, 3, statistics=k, bias=False, **o),
    "SharedMLP": lambda k, **o: SharedMLP(CHANNELS, 3, **o),
    "BottleneckMLP with batch norm": lambda k, **o: BottleneckMLP(CHANNELS, 3, statistics=k, norm="batch", **o),
    "BottleneckMLP with LayerNorm": lambda k, **o: BottleneckMLP(CHANNELS, 3, statistics=k, norm="layer", **o),
    "FullLinear": lambda k, **o: FullLinear(CHANNELS, statistics=k, **o),
    "NormedMLP": lambda k, **o: NormedMLP(CHANNELS, 3, **o),
    "ChannelConv1d": lambda k, **o: ChannelConv1d(CHANNELS, 3, statistics=k, **o),
    "PerChannelLinear": lambda k, **o: PerChannelLinear(CHANNELS, statistics=k, **o),
    "PerChannelNorm": lambda k, **o: PerChannelNorm(CHANNELS, **o),
    "ChannelNormalization": lambda k, **o: ChannelNormalization(CHANNELS, statistics=k, **o),
    "RowTransform": lambda k, **o: RowTransform(CHANNELS, CHANNELS, statistics=k, **o),
}
WITH_BATCH_NORM = {"BottleneckMLP with batch norm", "NormedMLP", "PerChannelLinear", "PerChannelNorm", "RowTransform"}
ANY_COUNT = {"SharedMLP", "NormedMLP", "PerChannelNorm"}

every = pytest.mark.parametrize("name", BUILD)
with_batch_norm = pytest.mark.parametrize("name", sorted(WITH_BATCH_NORM))


def draw(module):
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand_like(tensor) + 0.5 if name.endswith("running_var") else torch.randn_like(tensor)
                )
    return module


def create(name, statistics, **options):
    return draw(BUILD[name](statistics, dtype=torch.float64, **options))


def literal(name, s, p, training):
    """Logits for statistics s (B, K, C), by loops."""
    side_by_side = s.reshape(len(s), -1)
    counted = range(s.shape[1])
    if name.startswith("BottleneckMLP with "):
        hidden = reference.linear(side_by_side, p[".fc1.weight"], p[".fc1.bias"])
        if name == "BottleneckMLP with batch norm":
            hidden = reference.batch_norm(hidden, p, ".norm", training)
        else:
            hidden = reference.layer_norm(hidden, p[".norm.weight"], p[".norm.bias"])
        return reference.linear(reference.relu(hidden), p[".fc2.weight"], p[".fc2.bias"])
    if name.startswith("BottleneckMLP"):
        return reference.mlp(side_by_side, p, "")
    if name == "SharedMLP":
        return sum(reference.mlp(s[:, k], p, "") for k in counted)
    if name == "FullLinear":
        return reference.linear(side_by_side, p[".fc.weight"], p[".fc.bias"])
    averaged = sum(s[:, k] for k in counted) / s.shape[1]
    if name == "PerChannelNorm":
        return reference.batch_norm(averaged, p, ".norm", training)
    if name == "NormedMLP":
        return reference.mlp(reference.relu(reference.batch_norm(averaged, p, ".norm.norm", training)), p, ".mlp")
    if name == "PerChannelLinear":
        return reference.batch_norm(sum(p[".weight"][k] * s[:, k] for k in counted), p, ".norm", training)
    if name == "ChannelNormalization":
        embedding = sum(p[".alpha"][k] * s[:, k] for k in counted)
        size = torch.stack([(sum(e**2 for e in row) / CHANNELS + 1e-5) ** 0.5 for row in embedding])
        return p[".gamma"] * embedding / size[:, None] + p[".beta"]
    if name == "ChannelConv1d":
        padded = [torch.zeros_like(s[:, :, 0]), *s.unbind(2), torch.zeros_like(s[:, :, 0])]
        kernel = p[".conv.weight"][0]
        return torch.stack([sum((padded[c + j] * kernel[:, j]).sum(1) for j in range(3)) for c in range(CHANNELS)], 1)
    rows = reference.batch_norm(s.transpose(1, 2), p, ".norm", training)
    kernel, bias = p[".conv.weight"], p[".conv.bias"]
    sums = torch.stack([(rows[:, o // 4] * kernel[o, 0]).sum(1) + bias[o] for o in range(4 * CHANNELS)], 1)
    return reference.linear(sums, p[".fc.weight"], p[".fc.bias"])


@every
@pytest.mark.parametrize("statistics", [1, 2, 5])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_equals_the_literal_formula(name, statistics, training):
    module = create(name, statistics).train(training)
    tensors = {f".{key}": value.detach().clone() for key, value in module.state_dict().items()}
    for key in dict(module.named_parameters()):
        tensors[f".{key}"].requires_grad_()
    theirs = torch.randn(3, statistics, CHANNELS, dtype=torch.float64).requires_grad_()
    ours = theirs.detach().clone().requires_grad_()
    expected = literal(name, theirs, tensors, training)
    actual = module(ours)
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn_like(expected)
    actual.backward(cotangent)
    expected.backward(cotangent)
    torch.testing.assert_close(ours.grad, theirs.grad)
    for key, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.grad, tensors[f".{key}"].grad)


@every
def test_one_statistic_needs_no_axis(name):
    module, statistics = create(name, 1).eval(), torch.randn(3, CHANNELS, dtype=torch.float64)
    assert torch.equal(module(statistics), module(statistics[:, None]))


@every
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_starts_at_zero_and_learns_from_there(name, training):
    module = create(name, 2).train(training)
    statistics = torch.randn(3, 2, CHANNELS, dtype=torch.float64)
    assert module(statistics).abs().min() > 0
    module.zero_last_()
    logits = module(statistics)
    assert torch.equal(logits, torch.zeros(3, CHANNELS, dtype=torch.float64))
    (logits * torch.randn_like(logits)).sum().backward()
    moved = {key for key, parameter in module.named_parameters() if parameter.grad.abs().max() > 1e-6}
    assert any(
        "weight" in key or "gamma" in key for key in moved
    )  # more than a bias, which takes no notice of the input


def test_without_parameters_is_the_mean():
    statistics = torch.randn(3, 4, CHANNELS)
    module = NoExcitation(CHANNELS)
    torch.testing.assert_close(module(statistics), sum(statistics[:, k] for k in range(4)) / 4)
    with pytest.raises(ValueError, match=r"built for 6 channels, got statistics of shape \(3, 4, 5\)"):
        module(statistics[:, :, :5])
    assert not hasattr(module, "zero_last_")  # by which surgery tells that there is nothing to set to zero


@every
def test_refuses_other_channels(name):
    with pytest.raises(ValueError, match=r"built for 6 channels, got statistics of shape \(3, 2, 5\); .*channels=5"):
        create(name, 2)(torch.randn(3, 2, 5, dtype=torch.float64))


@pytest.mark.parametrize("name", sorted(BUILD.keys() - ANY_COUNT))
def test_refuses_another_number_of_statistics(name):
    with pytest.raises(
        ValueError, match=r"built for 2 statistics of each channel, the squeeze gives 3; .*statistics=3"
    ):
        create(name, 2)(torch.randn(3, 3, CHANNELS, dtype=torch.float64))


@every
def test_refuses_maps(name):
    with pytest.raises(ValueError, match=r"\(B, C\) or \(B, K, C\), got \(3, 2, 6, 1\)"):
        create(name, 2)(torch.randn(3, 2, CHANNELS, 1, dtype=torch.float64))


@with_batch_norm
def test_a_batch_of_one(name):
    module, statistics = create(name, 1), torch.randn(1, CHANNELS, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"more than 1 value per channel.*a batch of one image; .*\.eval\(\)"):
        module(statistics)
    assert module.eval()(statistics).shape == (1, CHANNELS)


@every
def test_device_and_dtype(name):
    module = BUILD[name](2, device="meta", dtype=torch.float64)
    assert all(parameter.is_meta and parameter.dtype == torch.float64 for parameter in module.parameters())


@pytest.mark.parametrize("kernel_size", [0, 4, -1])
def test_refuses_an_even_kernel(kernel_size):
    with pytest.raises(ValueError, match=f"kernel_size must be odd, got {kernel_size}"):
        ChannelConv1d(CHANNELS, kernel_size)


def test_context_transform_starts_at_zero():
    transform = create_attention("gc", CHANNELS, rd_channels=3).excitation
    assert torch.equal(transform(torch.randn(2, CHANNELS)), torch.zeros(2, CHANNELS))


def test_refuses_an_unknown_norm():
    with pytest.raises(ValueError, match="norm must be one of batch, layer, or None, got 'group'"):
        BottleneckMLP(CHANNELS, 3, norm="group")


def test_style_weights_start_at_zero():
    assert torch.equal(PerChannelLinear(CHANNELS)(torch.randn(3, 2, CHANNELS)), torch.zeros(3, CHANNELS))


def test_zeroing_a_trained_norm_forgets_its_running_mean():
    module = PerChannelLinear(CHANNELS)
    nn.init.normal_(module.weight)
    module(torch.randn(3, 2, CHANNELS))
    module.zero_last_()
    assert torch.equal(module.eval()(torch.randn(3, 2, CHANNELS)), torch.zeros(3, CHANNELS))


def test_channel_normalization_does_not_overflow_in_float16():
    module = ChannelNormalization(CHANNELS, dtype=torch.float16)
    nn.init.ones_(module.gamma)
    norms = torch.tensor([[3e4, 1e4, 2e4, 0.0, 1.0, 6e4]], dtype=torch.float16)  # squares beyond 65504
    expected = norms.double() / norms.double().square().mean().sqrt()
    logits = module(norms)
    assert logits.dtype == torch.float16
    torch.testing.assert_close(logits.double(), expected, rtol=1e-3, atol=1e-6)


def test_no_weight_decay_as_the_authors_have_it():
    assert PerChannelLinear(CHANNELS).no_weight_decay() == {"weight", "norm.weight", "norm.bias"}
    assert ChannelNormalization(CHANNELS).no_weight_decay() == {"beta"}


def test_row_transform_takes_fewer_rows_than_channels():
    module = create("RowTransform", 3)
    narrow = draw(RowTransform(CHANNELS, 4, statistics=4, expansion=2, dtype=torch.float64))
    assert narrow(torch.randn(2, 4, 4, dtype=torch.float64)).shape == (2, CHANNELS)
    assert module.conv.weight.shape == (4 * CHANNELS, 1, 3)
    assert narrow.conv.weight.shape == (2 * 4, 1, 4)
