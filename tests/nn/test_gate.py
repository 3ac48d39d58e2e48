"""Gates by their formulas."""

import math

import pytest
import torch
from torch import nn

from saam.nn import Add, Doubled, OnePlusSigmoid, OnePlusTanh


def sigmoid(logit):
    return 1 / (1 + math.exp(-logit))


@pytest.mark.parametrize(
    ("gate", "formula"),
    [
        (Add(), lambda logit: logit),
        (OnePlusTanh(), lambda logit: 1 + math.tanh(logit)),
        (OnePlusSigmoid(), lambda logit: 1 + sigmoid(logit)),
        (Doubled(nn.Sigmoid()), lambda logit: 2 * sigmoid(logit)),
        (Doubled(nn.Hardsigmoid()), lambda logit: 2 * min(max(logit / 6 + 0.5, 0), 1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_formula(gate, formula):
    logits = torch.tensor([[-4.0, -0.5, 0.0], [0.3, 1.7, 5.0]], dtype=torch.float64)
    expected = torch.tensor([[formula(logit) for logit in row] for row in logits.tolist()], dtype=torch.float64)
    torch.testing.assert_close(gate(logits), expected)


def test_only_the_addend_adds():
    assert Add().adds
    assert not any(getattr(gate, "adds", False) for gate in (OnePlusTanh(), OnePlusSigmoid(), Doubled(nn.Sigmoid())))


@pytest.mark.parametrize("gate", [OnePlusTanh(), Doubled(nn.Sigmoid()), Doubled(nn.Hardsigmoid())], ids=str)
def test_is_one_at_zero_and_learns_there(gate):
    logits = torch.zeros(2, 3, requires_grad=True)
    factor = gate(logits)
    assert torch.equal(factor, torch.ones(2, 3))
    factor.sum().backward()
    assert (logits.grad > 0.1).all()
