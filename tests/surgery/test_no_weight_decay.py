"""Scorers train without weight decay wherever they stand, by our training and by timm's optimizer factory."""

import copy
import pickle

import pytest
import torch
from torch import nn

import saam
from saam.training import parameter_groups

timm = pytest.importorskip("timm")
create_optimizer_v2 = pytest.importorskip("timm.optim").create_optimizer_v2


def attached():
    return saam.create_model("resnet8", attention="saam", width=8)


def attached_in_timm():
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=12, depth=1, num_heads=3)
    model.neck = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4))
    saam.attach(model, "saam", where="neck.1")
    return model


def upgraded():
    model = timm.create_model("seresnet18", num_classes=3)
    saam.upgrade(model, example=torch.randn(1, 3, 64, 64))
    return model


def upgraded_with_many_scorers():
    model = timm.create_model("seresnet18", num_classes=3)
    saam.upgrade(model, heads=4, kernel_size=3, head=True)
    return model


def head():
    return saam.create_model("resnet8", head="score", width=8)


def mean_and_score():
    return saam.create_model("resnet8", attention="se,squeeze=mean+score", width=8)


def inside_cbam():
    return saam.create_model("resnet8", attention="cbam,squeeze=mean+score", width=8)


SCORERS = {
    attached: 3,
    attached_in_timm: 1,
    upgraded: 8,
    upgraded_with_many_scorers: 9,
    head: 1,
    mean_and_score: 3,
    inside_cbam: 3,
}


def scorers(model):
    pools = [module for module in model.modules() if isinstance(module, saam.ScorePool2d)]
    return {id(parameter) for pool in pools for parameter in pool.parameters()}


def undecayed(groups):
    return {id(parameter) for group in groups if group["weight_decay"] == 0 for parameter in group["params"]}


@pytest.mark.parametrize(("build", "count"), SCORERS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_scorers_do_not_decay(build, count):
    model = build()
    expected = scorers(model)
    assert len(expected) == count
    ours = undecayed(parameter_groups(model, weight_decay=0.1))
    theirs = undecayed(create_optimizer_v2(model, "sgd", lr=0.1, weight_decay=0.1).param_groups)
    for found in (ours, theirs):
        assert expected <= found
        kernels = {id(parameter) for parameter in model.parameters() if parameter.ndim > 1} - expected
        assert kernels - found  # the convolutions do decay


def in_a_network_of_ones_own():
    return nn.ModuleDict({"encoder": upgraded_with_many_scorers(), "pool": saam.ScorePool2d(8)})


def built_by_timm():
    return timm.create_model("resnet26", num_classes=3, block_args={"attn_layer": saam.SAAM})


@pytest.mark.parametrize("build", [*SCORERS, in_a_network_of_ones_own, built_by_timm], ids=lambda build: build.__name__)
def test_every_scorer_is_named_wherever_it_stands(build):
    model = build()
    by_name = dict(model.named_parameters())
    named = saam.no_weight_decay(model)
    assert named <= by_name.keys()
    assert scorers(model) <= {id(by_name[name]) for name in named}
    assert not any(name.endswith(("conv1.weight", "fc.weight")) for name in named)


def test_what_a_network_names_itself_stays_named():
    model = attached_in_timm()
    own = type(model).no_weight_decay(model) & {name for name, _ in model.named_parameters()}
    assert own == {"pos_embed", "cls_token"}
    assert model.no_weight_decay() == own | {
        name for name, parameter in model.named_parameters() if id(parameter) in scorers(model)
    }
    saam.detach(model)
    assert model.no_weight_decay() == type(model).no_weight_decay(model)


def test_a_network_that_names_nothing_has_no_such_method_after_detaching():
    model = attached()
    assert hasattr(model, "no_weight_decay")
    saam.detach(model)
    assert not hasattr(model, "no_weight_decay")


def test_srm_is_named_to_timm_too():
    """All of SRM trains without decay, as its authors have it, and timm finds only what the network names."""
    model = saam.create_model("resnet8", attention="srm", width=8)
    assert {name for name in model.no_weight_decay() if name.endswith("weight")}
    theirs = undecayed(create_optimizer_v2(model, "sgd", lr=0.1, weight_decay=0.1).param_groups)
    assert {id(parameter) for parameter in saam.new_parameters(model).values()} <= theirs


def test_named_networks_are_copied_and_pickled():
    model = attached()
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert again.no_weight_decay() == model.no_weight_decay()
        names = {name for name, parameter in again.named_parameters() if id(parameter) in scorers(again)}
        assert names <= again.no_weight_decay()


@pytest.mark.parametrize("mine", [lambda: {"fc.bias"}, {"fc.bias"}], ids=["method", "attribute"])
def test_what_was_set_on_the_network_itself_comes_back(mine):
    model = saam.create_model("resnet8")
    model.no_weight_decay = mine
    saam.attach(model, "saam")
    assert "fc.bias" in model.no_weight_decay()
    assert len(model.no_weight_decay()) > 1
    saam.detach(model)
    assert model.no_weight_decay is mine


def test_a_network_that_fails_to_name_them_stays_as_it_was():
    model = saam.create_model("resnet8")
    model.no_weight_decay = lambda: 1 / 0
    before = list(model.modules())
    with pytest.raises(ZeroDivisionError):
        saam.attach(model, "saam")
    assert list(model.modules()) == before
