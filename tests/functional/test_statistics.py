"""Channel statistics against Python's own."""

import statistics

import pytest
import torch

import saam
from saam.functional import channel_max, channel_mean, channel_std


def test_equal_the_literal_statistics():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    for image in range(2):
        for channel in range(3):
            pixels = x[image, channel].flatten().tolist()
            assert channel_mean(x)[image, channel].item() == pytest.approx(statistics.fmean(pixels))
            assert channel_max(x)[image, channel].item() == max(pixels)
            deviation = (statistics.variance(pixels) + 1e-5) ** 0.5
            assert channel_std(x)[image, channel].item() == pytest.approx(deviation)


def test_one_pixel_has_no_deviation():
    x = torch.randn(2, 3, 1, 1, requires_grad=True)
    deviation = channel_std(x)
    torch.testing.assert_close(deviation, torch.full((2, 3), 1e-5**0.5))
    deviation.sum().backward()
    assert x.grad.isfinite().all()


def test_float16_does_not_overflow():
    x = torch.full((1, 1, 64, 64), 6e4, dtype=torch.float16)
    x[..., ::2] = -6e4
    assert channel_mean(x.abs()).item() == pytest.approx(6e4, rel=1e-3)
    assert channel_std(x).item() == pytest.approx(6e4, rel=1e-3)


@pytest.mark.parametrize("statistic", [channel_mean, channel_max, channel_std])
def test_bad_input(statistic):
    with pytest.raises(ValueError, match=r"\(B, C, H, W\)"):
        statistic(torch.ones(3, 4, 5))
    with pytest.raises(TypeError, match="floating"):
        statistic(torch.ones(1, 3, 4, 5, dtype=torch.long))


def test_the_exponent_of_gem_is_above_0():
    with pytest.raises(ValueError, match="exponent must be above 0, got 0"):
        saam.functional.statistics.channel_gem(torch.rand(1, 2, 3, 3), 0)
