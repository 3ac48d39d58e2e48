import math

import pytest
import torch

from saam.explain import score_maps
from saam.explain.compared import compared_maps
from saam.models import create_model
from saam.nn import ScorePool2d


def test_score_maps_are_combined_over_the_sites():
    model = create_model("resnet8", attention="saam", width=8, num_classes=3, seed=0)
    for pool in (module for module in model.modules() if isinstance(module, ScorePool2d)):
        torch.nn.init.normal_(pool.weight)
    x = torch.randn(70, 3, 16, 16)
    found = compared_maps(model, x, torch.arange(70) % 3)
    assert all(maps.shape == (70, 16, 16) for maps in found.values())
    for maps in found.values():
        assert maps.sum((1, 2)).tolist() == pytest.approx([1] * 70, abs=1e-4)
    first = next(iter(score_maps(model, x).values())).mean(1)  # as fine as the input
    assert found["scores, first site"].numpy() == pytest.approx(first.numpy(), abs=1e-6)
    both = create_model("resnet8", attention="saam", width=8, num_classes=3, seed=0)
    plain = compared_maps(both, x[:2], torch.tensor([0, 1]))  # new scorers are zero: all maps are uniform
    assert plain["scores, product of sites"].numpy() == pytest.approx(plain["uniform"].numpy(), abs=1e-6)


def test_a_single_site_has_one_map():
    model = create_model("resnet8", head="score", width=8, num_classes=3, seed=0)
    found = compared_maps(model, torch.randn(2, 3, 16, 16), torch.tensor([0, 1]))
    assert list(found) == ["scores", "Grad-CAM", "integrated gradients", "uniform", "centre"]


def test_the_product_is_that_of_the_sites():
    model = create_model("resnet8", attention="saam", width=8, num_classes=3, seed=0)
    torch.nn.init.normal_(next(module for module in model.modules() if isinstance(module, ScorePool2d)).weight)
    found = compared_maps(model, torch.randn(1, 3, 16, 16), torch.tensor([0]))
    first = found["scores, first site"]
    assert found["scores, last site"].std() == 0
    assert found["scores, product of sites"].numpy() == pytest.approx(first.numpy(), rel=1e-3)
    assert found["scores, mean of sites"].numpy() == pytest.approx((first / 3 + 2 / 3 / 256).numpy(), rel=1e-3)


def test_floors_know_nothing_of_the_network():
    first, second = (
        compared_maps(create_model("resnet8", width=8, seed=seed), torch.randn(1, 3, 8, 12), torch.tensor([0]))
        for seed in (0, 1)
    )
    assert first.keys() == {"Grad-CAM", "integrated gradients", "uniform", "centre"}
    assert torch.equal(first["centre"], second["centre"])
    centre = first["centre"][0]
    assert torch.equal(centre, centre.flip(0, 1))
    assert (centre[3:5, 5:7] == centre.max()).all()
    assert (centre[5, 6] / centre[4, 6]).item() == pytest.approx(math.exp((0.5**2 - 1.5**2) / 2**2 / 2))
    assert first["uniform"].unique().tolist() == [pytest.approx(1 / 96)]
