import math

import pytest
import torch
from torch import nn

from saam.explain import deletion, insertion, road


class OnePixel(nn.Module):
    """The logit of class 0 is the pixel in the second row and third column; that of class 1 is 0."""

    def forward(self, x):
        return torch.stack([x[:, 0, 1, 2], torch.zeros(len(x))], 1)


X = torch.zeros(1, 1, 4, 4)
X[0, 0, 1, 2] = 4.0
KNOWS, WRONG = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
KNOWS[0, 1, 2], WRONG[0, 1, 2] = 1.0, 0.0
CLASS = torch.tensor([0])
SURE = 1 / (1 + math.exp(-4))


def test_deletion_by_hand():
    """With sixteen steps, the pixel that counts is gone at once, or at the end."""
    assert deletion(OnePixel(), X, KNOWS, CLASS).item() == pytest.approx((0.5 * SURE + 15.5 * 0.5) / 16)
    assert deletion(OnePixel(), X, WRONG, CLASS).item() == pytest.approx((15.5 * SURE + 0.5 * 0.5) / 16)


def test_insertion_rewards_the_map_that_knows():
    knows, wrong = (insertion(OnePixel(), X, maps, CLASS).item() for maps in (KNOWS, WRONG))
    blurred = 16 * (wrong - 0.5 * SURE / 16) / 15.5
    assert knows == pytest.approx((0.5 * blurred + 15.5 * SURE) / 16)
    assert 0.5 < blurred < SURE - 0.01


def test_road_is_positive_for_the_map_that_knows_and_negative_for_the_opposite():
    knows, wrong = (road(OnePixel(), X, maps, CLASS).item() for maps in (KNOWS, WRONG))
    assert knows == pytest.approx(SURE - 0.5, abs=0.02)
    assert wrong == pytest.approx(-knows, abs=0.02)


def test_equal_pixels_are_ordered_by_the_seed():
    flat = torch.ones(1, 4, 4)
    found = {seed: deletion(OnePixel(), X, flat, CLASS, seed=seed).item() for seed in range(20)}
    assert found[0] == deletion(OnePixel(), X, flat, CLASS, seed=0).item()
    assert len(set(found.values())) > 8


def test_each_image_has_its_own_class_and_map():
    x, maps = torch.cat([X, X]), torch.cat([KNOWS, WRONG])
    assert deletion(OnePixel(), x, maps, torch.tensor([0, 1])).tolist() == pytest.approx(
        [(0.5 * SURE + 7.75) / 16, (15.5 * (1 - SURE) + 0.25) / 16], abs=1e-6
    )


@pytest.mark.parametrize("measure", [deletion, insertion, road])
def test_maps_must_fit(measure):
    with pytest.raises(ValueError, match=r"expected maps \(B, H, W\) for images \(1, 1, 4, 4\), got \(1, 2, 2\)"):
        measure(OnePixel(), X, torch.ones(1, 2, 2), CLASS)
