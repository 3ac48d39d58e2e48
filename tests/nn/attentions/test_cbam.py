"""CBAM, channel part and spatial part, against its literal reference."""

import functools

import pytest
import torch

import reference_peers
from saam.nn import create_attention
from saam.nn.attentions.cbam import CBAM


def test_parity(agree):
    agree(CBAM(6, rd_channels=3), reference_peers.cbam)


def test_parity_with_a_score_squeeze(agree):
    reference = functools.partial(reference_peers.cbam, squeeze="score")
    agree(CBAM(6, rd_channels=3, squeeze="score"), reference)


def test_channel_part_is_cbam_channel():
    whole, channel = CBAM(32, rd_ratio=1 / 4), create_attention("cbam-channel", 32, rd_ratio=1 / 4)
    channel.load_state_dict(whole.channel.state_dict())
    x = torch.randn(2, 32, 5, 7)
    torch.testing.assert_close(whole.channel(x), channel(x), rtol=0, atol=0)


def test_width_of_the_bottleneck():
    def hidden(**options):
        return CBAM(64, **options).channel.excitation.fc1.out_features

    assert [hidden(), hidden(rd_ratio=1 / 8), hidden(rd_channels=5), hidden(rd_divisor=8)] == [4, 8, 5, 8]


def test_resnet20_total():
    assert sum(3 * count(CBAM(channels)) for channels in (16, 32, 64)) == 3273


def test_even_kernel():
    with pytest.raises(ValueError, match=r"kernel_size must be odd.*got 4"):
        CBAM(16, kernel_size=4)
    assert CBAM(16, kernel_size=3).spatial.conv.kernel_size == (3, 3)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())
