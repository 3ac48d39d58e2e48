"""Every module of the grammar against a literal reference: outputs and all gradients, random weights everywhere."""

from functools import partial

import pytest
import torch

import reference
from grammar import GRAMMAR
from saam.nn import create_attention

CASES = [
    # name, options, channels, (H, W), reference
    ("se", {}, 5, (3, 4), reference.se),
    ("se", {"rd_channels": 3}, 6, (5, 2), reference.se),
    ("se:nobias", {}, 7, (3, 4), reference.se),
    ("se:timm", {}, 6, (3, 4), reference.se),
    ("ese", {}, 6, (5, 3), reference.ese),
    ("cbam-channel", {"rd_channels": 2}, 6, (3, 5), reference.cbam_channel),
    ("bam-channel", {"rd_channels": 3}, 6, (5, 3), reference.bam_channel),
    ("ge-minus", {}, 4, (3, 5), reference.ge_minus),
    ("ge", {"size": (3, 5)}, 4, (3, 5), reference.ge),
    ("ge-plus", {"size": (5, 3), "rd_channels": 2}, 5, (5, 3), reference.ge_plus),
    ("srm", {}, 5, (3, 4), reference.srm),
    ("srm", {}, 5, (1, 1), reference.srm),
    ("eca", {}, 7, (3, 4), reference.eca),
    ("eca", {"kernel_size": 9}, 3, (3, 4), reference.eca),
    ("eca:3557", {"stage": 3}, 9, (3, 4), reference.eca),
    ("eca:3577", {"stage": 4}, 5, (3, 4), reference.eca),
    ("eca:3357", {"stage": 2}, 6, (3, 4), reference.eca),
    ("gc", {"rd_channels": 3}, 6, (3, 5), reference.gc),
    ("gc:mul", {"rd_channels": 3}, 6, (3, 5), reference.gc_mul),
    ("gct", {}, 5, (4, 3), reference.gct),
    ("fca", {}, 32, (7, 9), reference.fca),
    ("fca", {}, 16, (15, 8), reference.fca),
    ("fca", {"size": (7, 8)}, 16, (11, 5), partial(reference.fca, size=(7, 8))),
    ("gsop", {"rd_channels": 3}, 5, (3, 4), reference.gsop),
    ("saam", {"heads": 2}, 6, (3, 5), partial(reference.saam, temperature=6**0.5)),
    ("saam", {"temperature": 0.7}, 5, (4, 3), partial(reference.saam, temperature=0.7)),
]


def draw(module):
    """Give every parameter and every running statistic a value of its own."""
    with torch.no_grad():
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand_like(tensor) + 0.5 if name.endswith("running_var") else torch.randn_like(tensor)
                )


def test_there_is_a_case_for_each():
    assert {case[0] for case in CASES} == set(GRAMMAR)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(
    ("name", "options", "channels", "size", "literal"), CASES, ids=[f"{case[0]}-{case[2]}x{case[3]}" for case in CASES]
)
def test_equals_the_literal_reference(name, options, channels, size, literal, training):
    module = create_attention(name, channels, **options, dtype=torch.float64).train(training)
    draw(module)
    tensors = {key: value.detach().clone() for key, value in module.state_dict().items()}
    for key in dict(module.named_parameters()):
        tensors[key].requires_grad_()
    x = torch.randn(3, channels, *size, dtype=torch.float64)
    theirs = x.clone().requires_grad_()
    ours = x.clone().requires_grad_()

    expected = literal(theirs, tensors, training)
    actual = module(ours)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)

    cotangent = torch.randn_like(expected)
    actual.backward(cotangent)
    expected.backward(cotangent)
    # torch's hard sigmoid has 1/6 in single precision in its gradient, also for float64
    close = partial(torch.testing.assert_close, rtol=1e-6 if name == "ese" else 1e-9, atol=1e-10)
    close(ours.grad, theirs.grad)
    for key, parameter in module.named_parameters():
        close(parameter.grad, tensors[key].grad, msg=lambda text, key=key: f"{key}: {text}")
