"""The spatial gate by itself; its numbers are held against the reference in the tests of CBAM and Triplet."""

import pytest
import torch

from saam.nn.spatial_gate import SpatialGate


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_is_shared_along_its_axis(axis):
    shape = [2, 3, 5, 7]
    shape[axis] = 1
    assert list(SpatialGate(axis=axis)(torch.randn(2, 3, 5, 7)).shape) == shape


def test_float16_does_not_overflow_in_the_convolution():
    gate = SpatialGate()
    torch.nn.init.ones_(gate.conv.weight)
    x = 6e4 * torch.rand(2, 3, 9, 9)  # a sum of 98 of them is far above 65504
    expected = gate(x)
    with torch.autocast("cpu", dtype=torch.float16):
        torch.testing.assert_close(gate(x.half()), expected.half(), rtol=0, atol=2e-3)


def test_ties_share_the_gradient():
    gate = SpatialGate(1).double().eval()
    with torch.no_grad():
        gate.conv.weight.copy_(torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1))  # the maximum alone
    x = torch.ones(1, 4, 1, 1, dtype=torch.float64, requires_grad=True)
    gate(x).sum().backward()
    torch.testing.assert_close(x.grad, x.grad[:, :1].expand_as(x))
    assert x.grad.min() > 0


def test_options():
    with pytest.raises(ValueError, match=r"kernel_size must be odd.*got 6"):
        SpatialGate(6)
    with pytest.raises(ValueError, match=r"axis must be 1 .channels., 2 .height. or 3 .width., got 0"):
        SpatialGate(axis=0)
