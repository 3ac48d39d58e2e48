"""Triplet attention against its literal reference, which turns the whole map."""

import pytest
import torch

import reference_peers
from saam.nn.peers.spatial_gate import SpatialGate
from saam.nn.peers.triplet import Triplet


def test_parity(agree):
    agree(Triplet(6), reference_peers.triplet)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_gate_is_shared_along_its_axis(axis):
    shape = [2, 3, 5, 7]
    shape[axis] = 1
    assert list(SpatialGate(axis=axis)(torch.randn(2, 3, 5, 7)).shape) == shape


def test_300_parameters_whatever_the_channels():
    assert {sum(parameter.numel() for parameter in Triplet(channels).parameters()) for channels in (1, 64)} == {300}


def test_options():
    assert Triplet(4, kernel_size=3).over_rows.conv.kernel_size == (3, 3)
    with pytest.raises(ValueError, match=r"kernel_size must be odd.*got 2"):
        Triplet(4, kernel_size=2)
    with pytest.raises(ValueError, match=r"axis must be 1 .channels., 2 .height. or 3 .width., got 0"):
        SpatialGate(axis=0)
