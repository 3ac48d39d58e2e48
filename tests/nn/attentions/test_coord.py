"""Coordinate attention against its literal reference."""

import pytest
import torch

import reference_peers
from saam.nn.attentions.coord import CoordAttention


def test_parity(agree):
    agree(CoordAttention(6, rd_channels=3), reference_peers.coord)


def test_rows_and_columns_are_not_mixed_up():
    module = CoordAttention(2).eval()
    torch.nn.init.zeros_(module.expand_rows.weight)
    torch.nn.init.constant_(module.expand_rows.bias, 40)  # the row gate is open: factors may differ by column alone
    x = torch.randn(1, 2, 5, 7)
    factors = module(x) / x
    torch.testing.assert_close(factors, factors[:, :, :1].expand_as(factors))
    assert factors.std(3).min() > 0


@pytest.mark.parametrize(("channels", "width"), [(16, 8), (256, 8), (304, 9), (640, 20)])
def test_bottleneck_is_cut_and_never_below_eight(channels, width):
    assert CoordAttention(channels).reduce.out_channels == width


def test_width_options():
    assert CoordAttention(64, rd_ratio=1 / 4).reduce.out_channels == 16
    assert CoordAttention(64, rd_channels=5).reduce.out_channels == 5
    for options in ({"rd_ratio": 0}, {"rd_channels": 0}):
        with pytest.raises(ValueError, match=r"rd_ratio must be above 0 and rd_channels 1 or more"):
            CoordAttention(64, **options)


def test_resnet20_total():
    modules = [CoordAttention(channels) for channels in (16, 32, 64)]
    assert 3 * sum(parameter.numel() for module in modules for parameter in module.parameters()) == 8952
