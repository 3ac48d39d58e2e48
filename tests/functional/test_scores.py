"""Scores by a convolution, and sums by weights, against loops."""

import pytest
import torch

from saam.functional.scores import convolve, weigh


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("shape", [(2, 4), (4, 1)], ids=["pixel", "channel"])
def test_scores_are_products_with_the_neighbourhood(shape, kernel):
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    weight, bias = torch.randn(*shape, kernel, kernel, dtype=torch.float64), torch.randn(shape[0], dtype=torch.float64)
    scores = convolve(x, weight, bias, padding=kernel // 2, groups=4 // shape[1])
    padded = torch.nn.functional.pad(x, [kernel // 2] * 4)
    for head in range(shape[0]):
        seen = padded if shape[1] == 4 else padded[:, head : head + 1]
        for row, column in ((0, 0), (2, 3), (4, 5)):
            patch = seen[:, :, row : row + kernel, column : column + kernel]
            torch.testing.assert_close(scores[:, head, row, column], (patch * weight[head]).sum((1, 2, 3)) + bias[head])


def test_scores_stay_wide_under_autocast():
    x = torch.full((1, 3, 2, 2), 250.0, dtype=torch.float16)
    with torch.autocast("cpu", torch.bfloat16):
        scores = convolve(x, torch.full((1, 3, 1, 1), 250.0))
    assert scores.dtype == torch.float32
    assert scores.eq(3 * 250**2).all()


def test_heads_weigh_their_own_channels():
    x, weights = torch.randn(2, 6, 3, 4), torch.rand(2, 3, 3, 4)
    sums = weigh(x, weights)
    for channel in range(6):
        torch.testing.assert_close(sums[:, channel], (x[:, channel] * weights[:, channel // 2]).sum((1, 2)))
