"""SimAM against its literal reference, and where the official code gives NaN."""

import math

import pytest
import torch

import reference_peers
from saam.nn.attentions.simam import SimAM


@pytest.mark.parametrize("shape", [(3, 6, 5, 7), (1, 1, 1, 2), (2, 3, 1, 1)], ids=str)
def test_parity(agree, shape):
    agree(SimAM(shape[1]), lambda x, weights, training: reference_peers.simam(x), shape)


def test_one_pixel_is_scaled_by_sigmoid_of_a_half():
    x = torch.randn(2, 3, 1, 1, requires_grad=True)
    y = SimAM(3)(x)
    torch.testing.assert_close(y, x / (1 + math.exp(-0.5)))
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.full_like(x, 1 / (1 + math.exp(-0.5))))


def test_the_pixel_that_stands_out_weighs_most():
    x = torch.ones(1, 1, 4, 4)
    x[0, 0, 1, 2] = 3
    factors = SimAM(1)(x) / x
    assert factors.argmax() == 6
    # the deviations squared are (15/8)^2 and fifteen times (1/8)^2; they sum to 3.75, so the variance is .25
    assert factors[0, 0, 1, 2].item() == pytest.approx(1 / (1 + math.exp(-(225 / 64 / 4 / 0.2501 + 0.5))), rel=1e-5)


def test_float16_does_not_overflow():
    x = 6e4 * torch.sign(torch.randn(1, 2, 8, 8)).half()
    torch.testing.assert_close(SimAM(2)(x), SimAM(2)(x.float()).half())


def test_regularisation():
    x = torch.randn(1, 2, 5, 7)
    assert not torch.equal(SimAM(2)(x), SimAM(2, regularisation=1)(x))
    with pytest.raises(ValueError, match=r"regularisation must be above 0, got 0"):
        SimAM(2, regularisation=0)
