"""Errors of networks that show before anything is trained, with the forecast as with the runs."""

import pytest
from torch import nn

import saam
from saam.comparison.forecast import forecast
from saam.comparison.rehearsal import try_networks
from saam.models import create_model


class TooMany(nn.Sequential):
    """Seven logits, however many classes there are."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(create_model("resnet8", num_classes=7))


class Pair(TooMany):
    def forward(self, x):
        return super().forward(x), x


class Broken(TooMany):
    def forward(self, x):
        raise RuntimeError("no such\n  layer")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": TooMany}, r"TooMany must return one logit for each of the 10 classes, \(1, 10\) .* got \(1, 7\)"),
        ({"model": Pair}, r"Pair must return one logit .* got tuple"),
        ({"model": Broken}, r"^Broken does not run on an image of 32 x 32 pixels \(RuntimeError: no such layer\)$"),
        ({"model": "vgg11_bn", "arms": ("none", "wider", "se")}, r"vgg11_bn cannot be widened"),
        ({"arms": ("none", "wider")}, r"choose another focus arm"),
        ({"arms": ("none", "saam,heads=5")}, r"heads must divide the channels"),
    ],
)
def test_networks_that_cannot_be_compared(make_plan, tmp_path, changes, message):
    plan = make_plan(**{**({} if changes.keys() == {"arms"} else {"model_options": {}}), **changes})
    with pytest.raises(ValueError, match=message):
        try_networks(plan, classes=10, image_size=(32, 32))
    with pytest.raises(ValueError, match=message):
        forecast(plan)
    with pytest.raises(ValueError, match=message):
        saam.compare(plan, tmp_path / "out")
    assert not (tmp_path / "out" / "plan.json").exists()


def test_networks_that_can_be_compared(make_plan):
    plan = make_plan(arms=("none", "wider", "se", "none,head=score"), focus="se")
    try_networks(plan, classes=3, image_size=(20, 24))


def test_settings_and_arms_of_compare_that_do_not_exist(tmp_path):
    with pytest.raises(TypeError, match=r"compare has no option 'seed'.*seeds"):
        saam.compare("resnet8", "photo-digits", out=tmp_path, seed=1)
    with pytest.raises(TypeError, match=r"expected the arms as a list, as in arms=\['none', 'saam'\], got 'saam'"):
        saam.compare("resnet8", "photo-digits", out=tmp_path, arms="saam")
