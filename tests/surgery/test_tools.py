"""Tools that find parts of a network by name do with attached sites what they do without."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, parametrize, prune

from saam.models import create_model
from saam.nn import ScorePool2d
from saam.surgery import attach, detach, upgrade

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


def network(name: str = "preresnet8", **options: object) -> nn.Module:
    """Return a network whose attention is at convolutions, and does something."""
    return create_model(name, attention="saam", seed=0, **options).eval()


def outputs(model: nn.Module, x: Tensor = X) -> Tensor:
    with torch.no_grad():
        return model(x)


def wrapped_twice() -> nn.Module:
    model = network("resnet8")
    attach(model, "se", where="layer2")
    return model


def upgraded() -> nn.Module:
    model = create_model("resnet8", attention="se", seed=0).eval()
    upgrade(model, head=True)
    return model


@pytest.mark.parametrize("build", [network, wrapped_twice, upgraded])
def test_functional_call_with_a_state_dict(build) -> None:
    model = build()
    expected, before = outputs(model), copy.deepcopy(model.state_dict())
    other = {key: value * 1.5 if value.is_floating_point() else value for key, value in before.items()}
    with torch.no_grad():
        called = functional_call(model, other, X)
        assert torch.equal(functional_call(model, before, X), expected)
    assert torch.equal(outputs(model), expected)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    model.load_state_dict(other)
    assert torch.equal(outputs(model), called)
    assert not torch.allclose(called, expected)


def test_functional_call_gives_gradients() -> None:
    model = network()
    weight = model.state_dict()["layer1.0.conv2.weight"].clone().requires_grad_()
    functional_call(model, {"layer1.0.conv2.weight": weight}, X).square().sum().backward()
    assert weight.grad.any()
    assert isinstance(model.layer1[0].conv2.weight, nn.Parameter)
    assert model.layer1[0].conv2.weight.grad is None


def test_weights_and_settings_of_a_norm_are_its_own() -> None:
    model = network("resnet8")
    norm = model.layer1[0].bn2
    keys = list(model.state_dict())
    norm.weight = nn.Parameter(torch.full((16,), 3.0))
    norm.running_mean = torch.full((16,), 0.5)
    norm.eps, norm.momentum = 0.25, None
    behind = norm.original
    assert behind.weight is norm.weight
    assert behind.running_mean is norm.running_mean
    assert (behind.eps, behind.momentum) == (0.25, None)
    assert not {"eps", "momentum", "weight", "running_mean"} & vars(norm).keys()
    assert list(model.state_dict()) == keys
    assert torch.equal(model.state_dict()["layer1.0.bn2.weight"], torch.full((16,), 3.0))
    assert "layer1.0.bn2._checkpoint_wrapped_module.weight" in dict(model.named_parameters())
    with pytest.raises(TypeError, match="cannot assign"):
        norm.weight = torch.ones(16)
    norm.mark = 1
    assert behind.mark == 1
    del norm.mark
    assert not hasattr(behind, "mark")


def test_names_of_the_wrapper_stay_its_own() -> None:
    norm = network("resnet8").layer1[0].bn2
    norm.attention = nn.Identity()
    norm._private = 3
    norm.eval()
    assert isinstance(norm._modules["attention"], nn.Identity)
    assert not {"attention", "_private", "request", "site"} & vars(norm.original).keys()
    assert "attention" not in norm.original._modules


def test_new_parameters_and_buffers_go_to_the_module() -> None:
    conv = network().layer1[0].conv2
    conv.register_parameter("extra", nn.Parameter(torch.ones(1)))
    conv.register_buffer("count", torch.zeros(1))
    assert conv.extra is conv.original.extra
    assert conv.count is conv.original.count
    assert list(conv._parameters) == list(conv._buffers) == []
    assert list(conv.state_dict())[:3] == ["weight", "extra", "count"]


@pytest.mark.parametrize("detached", [False, True])
def test_pruning(detached: bool) -> None:
    model, plain = network(), create_model("preresnet8", seed=0).eval()
    for each in (model, plain):
        prune.l1_unstructured(each.layer1[0].conv2, "weight", 0.5)
        prune.random_structured(each.layer1[0].conv2, "weight", 0.25, dim=0)
        if each is model and detached:
            detach(model)
    assert set(plain.state_dict()) <= set(model.state_dict())
    assert {"layer1.0.conv2.weight_orig", "layer1.0.conv2.weight_mask"} <= set(model.state_dict())
    conv = model.layer1[0].conv2
    assert prune.is_pruned(model)
    with torch.no_grad():
        conv.weight_orig.fill_(2.0)
    outputs(model)
    expected = 2.0 * conv.weight_mask
    assert 0 < int((expected == 0).sum()) < expected.numel()
    assert torch.equal(getattr(conv, "module", conv).weight, expected)
    prune.remove(conv, "weight")
    assert torch.equal(conv.weight, expected)
    assert isinstance(getattr(conv, "module", conv).weight, nn.Parameter)
    assert list(model.state_dict()) == list((create_model("preresnet8") if detached else network()).state_dict())


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weight_norm_by_a_hook() -> None:
    model = network()
    expected = outputs(model)
    nn.utils.weight_norm(model.layer1[0].conv2, "weight")
    torch.testing.assert_close(outputs(model), expected)
    with torch.no_grad():
        model.layer1[0].conv2.weight_g.mul_(2.0)
    assert not torch.allclose(outputs(model), expected)


def test_parametrization_is_refused_at_the_wrapper_and_works_behind_it() -> None:
    model = network()
    expected, keys = outputs(model), list(model.state_dict())
    conv = model.layer1[0].conv2
    for wanted in (
        lambda: parametrizations.weight_norm(conv),
        lambda: parametrize.register_parametrization(conv, "weight", nn.Identity()),
        lambda: delattr(conv, "weight"),
    ):
        with pytest.raises(TypeError, match=r"cannot parametrize or delete 'weight' .*its attribute \.original"):
            wanted()
    assert list(model.state_dict()) == keys
    assert torch.equal(outputs(model), expected)
    parametrizations.weight_norm(conv.original)
    torch.testing.assert_close(outputs(model), expected)
    assert "layer1.0.conv2.parametrizations.weight.original0" in model.state_dict()
    twin = copy.deepcopy(model)
    assert type(twin.layer1[0].conv2) is type(conv)
    assert torch.equal(outputs(twin), outputs(model))


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("build", [network, upgraded])
def test_names_in_a_copy_lead_to_the_copy(twin, build) -> None:
    model = build()
    other = twin(model)
    name = (
        next(name for name, module in model.named_modules() if "request" in vars(module) and "bn2" in name)
        if (build is upgraded)
        else "layer1.0.conv2"
    )
    first, second = model.get_submodule(name), other.get_submodule(name)
    second.weight = nn.Parameter(torch.zeros_like(first.weight))
    assert second.original.weight is second.weight
    assert first.weight.any()


def test_an_upgraded_pool_is_asked_for_what_the_pool_knew() -> None:
    pool = upgraded().pool
    assert isinstance(pool.squeeze, ScorePool2d)
    pool.original.mark = 1
    assert pool.mark == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("build", [network, wrapped_twice, upgraded])
def test_scripting_is_refused_with_the_reason(build) -> None:
    model = build()
    with pytest.raises(TypeError, match=r"cannot script .* in Python at run time; use torch.export.export or"):
        torch.jit.script(model)
    expected = outputs(model)
    traced = torch.jit.trace(model, X, check_trace=False)
    torch.testing.assert_close(outputs(traced), expected)


@pytest.mark.parametrize("build", [network, wrapped_twice])
def test_hooks_stay_after_detaching_until_their_handles_remove_them(build) -> None:
    model, called = build(), []
    for name in ("layer1.0.conv2", "layer2"):
        part = model.get_submodule(name)
        handles = [
            part.register_forward_pre_hook(lambda *_: called.append("before")),
            part.register_forward_hook(lambda *_, **__: called.append("after"), with_kwargs=True, always_call=True),
            part.register_full_backward_pre_hook(lambda *_: called.append("gradient after")),
            part.register_full_backward_hook(lambda *_: called.append("gradient before")),
        ]
        detach(model)
        model(X).sum().backward()
        assert called == ["before", "after", "gradient after", "gradient before"]
        for handle in handles:
            handle.remove()
        model(X).sum().backward()
        assert len(called) == 4
        called.clear()
        attach(model, "se", where="layer2")


def test_hooks_of_a_module_stay_with_those_of_its_wrapper() -> None:
    model, called = create_model("preresnet8").eval(), []
    first = model.layer1[0].conv2.register_forward_pre_hook(lambda *_: called.append("module"))
    attach(model, "saam")
    model.layer1[0].conv2.register_forward_pre_hook(lambda *_: called.append("wrapper"))
    detach(model)
    called.clear()
    outputs(model)
    assert called == ["module", "wrapper"]
    first.remove()
    outputs(model)
    assert called[2:] == ["wrapper"]
