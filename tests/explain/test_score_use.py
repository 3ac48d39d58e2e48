import math

import pytest
import torch
from torch import nn

import saam
from saam.explain import ScoreUse, score_use


def pool(weight: float) -> nn.Module:
    """Score the one channel by its own value, so that a map of logarithms has weights that one can tell by hand."""
    made = saam.ScorePool2d(1)
    nn.init.constant_(made.weight, weight)
    return made


def logarithms(*weights: float) -> torch.Tensor:
    return torch.tensor(weights).log().reshape(1, 1, 2, 2)


def test_numbers_worked_by_hand() -> None:
    """Weights 1/2, 1/4, 1/8, 1/8: entropy 1.75 bits, so 2^1.75 of 4 pixels; the largest is twice the mean's 1/4."""
    use = score_use(pool(1.0), logarithms(0.5, 0.25, 0.125, 0.125))
    assert list(use) == ["model"]
    assert use["model"].share == pytest.approx(2**1.75 / 4, abs=1e-6)
    assert use["model"].lift == pytest.approx(2.0, abs=1e-6)


def test_averages_over_images_and_not_over_batches() -> None:
    """Two batches of unequal size; a single pixel has share 1/4 and lift 4, the mean has 1 and 1."""
    point = torch.full((1, 1, 2, 2), -200.0)
    point[0, 0, 1, 0] = 200.0
    even = torch.zeros(2, 1, 2, 2)
    batches = [(torch.cat((point, even)), torch.tensor([0, 1, 2])), point, torch.empty(0, 1, 2, 2)]
    use = score_use(pool(1.0), batches)["model"]
    assert use.share == pytest.approx((2 * 1 / 4 + 2 * 1) / 4, abs=1e-6)
    assert use.lift == pytest.approx((2 * 4 + 2 * 1) / 4, abs=1e-6)


def test_averages_over_heads() -> None:
    made = saam.ScorePool2d(2, heads=2)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]).reshape(2, 2, 1, 1))
    x = torch.cat((logarithms(0.5, 0.25, 0.125, 0.125), torch.randn(1, 1, 2, 2)), 1)
    assert score_use(made, x)["model"].share == pytest.approx((1 + 2**1.75 / 4) / 2, abs=1e-6)


def test_a_new_network_pools_by_the_mean_and_a_moved_one_does_not() -> None:
    model = saam.create_model("resnet8", attention="saam", head="score", width=8, seed=0).train()
    x = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert set(score_use(model, x).values()) == {ScoreUse(1.0, 1.0)}
    assert model.training
    for module in model.modules():
        if isinstance(module, saam.ScorePool2d):
            nn.init.constant_(module.weight, 2.0)
    moved = score_use(model, x)
    assert list(moved) == [*saam.score_maps(model, x)]
    assert all(use.share < 0.999 and use.lift > 1.001 for use in moved.values())


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a model with a score squeeze"):
        score_use(saam.create_model("resnet8", width=8), torch.randn(1, 3, 8, 8))
    model = saam.create_model("resnet8", attention="saam", width=8)
    with pytest.raises(ValueError, match="expected images to run the model on, got none"):
        score_use(model, [])
    x = torch.zeros(2, 3, 8, 8)
    for batches, got in (
        ((x, torch.zeros(2)), r"\(2,\)"),
        (x[0], r"\(3, 8, 8\)"),
        ([{"x": x}], "dict"),
        (["a"], "str"),
    ):
        with pytest.raises(ValueError, match=rf"expected batches of images \(B, C, H, W\), .* got {got}"):
            score_use(model, batches)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"the scores at site 'layer1\.0\.bn2' are not finite"):
            score_use(model, torch.full((1, 3, 8, 8), bad))
