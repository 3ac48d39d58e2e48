"""Triplet attention against its literal reference, which turns the whole map."""

import pytest

import reference_peers
from saam.nn.attentions.triplet import Triplet


def test_parity(agree):
    agree(Triplet(6), reference_peers.triplet)


def test_300_parameters_whatever_the_channels():
    assert {sum(parameter.numel() for parameter in Triplet(channels).parameters()) for channels in (1, 64)} == {300}


def test_options():
    assert Triplet(4, kernel_size=3).over_rows.conv.kernel_size == (3, 3)
    with pytest.raises(ValueError, match=r"kernel_size must be odd.*got 2"):
        Triplet(4, kernel_size=2)
