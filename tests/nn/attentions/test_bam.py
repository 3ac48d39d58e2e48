"""BAM in both forms against its literal reference."""

import functools

import pytest
import torch

import reference_peers
from saam.nn import create_attention, list_attentions
from saam.nn.attentions.bam import BAM


@pytest.mark.parametrize("combination", ["product", "sum"])
@pytest.mark.parametrize("squeeze", ["mean", "score"])
def test_parity(agree, combination, squeeze):
    reference = functools.partial(reference_peers.bam, combination=combination, squeeze=squeeze)
    agree(BAM(6, rd_channels=3, combination=combination, squeeze=squeeze), reference)


def test_names():
    combinations = {name: create_attention(name, 16).combination for name in list_attentions() if "bam:" in name}
    assert combinations == {"bam:code": "product", "bam:paper": "sum"}
    assert create_attention("bam", 16).combination == "product"


def test_channel_branch_is_bam_channel():
    whole, channel = BAM(32, combination="sum").eval(), create_attention("bam-channel", 32).eval()
    channel.squeeze, channel.excitation = whole.squeeze, whole.excitation
    torch.nn.init.zeros_(whole.spatial[-1].weight)
    torch.nn.init.zeros_(whole.spatial[-1].bias)
    x = torch.randn(2, 32, 5, 7)
    torch.testing.assert_close(whole(x), channel(x))


def test_width_of_both_bottlenecks():
    for options, width in (({}, 4), ({"rd_ratio": 1 / 8}, 8), ({"rd_channels": 5}, 5), ({"rd_divisor": 8}, 8)):
        module = BAM(64, **options)
        assert module.excitation.fc1.out_features == module.spatial[0].out_channels == width


def test_bad_input():
    with pytest.raises(ValueError, match="combination must be one of product, sum, got 'product-sum'"):
        BAM(16, combination="product-sum")
    with pytest.raises(ValueError, match="batch of one image"):
        BAM(16)(torch.randn(1, 16, 5, 7))
