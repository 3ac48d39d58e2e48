"""The optimizer against that of torch, bit for bit."""

import copy
import subprocess
import sys
from itertools import product

import pytest
import torch
from torch import nn

from saam.training.sgd import Sgd


def network(memory_format):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 1, bias=False), nn.Flatten(), nn.Linear(16, 2))
    return model.to(memory_format=memory_format)


def groups(model):
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": weights, "weight_decay": 0.01, "factor": 1.0}, {"params": rest, "weight_decay": 0.0}]


def step(model, optimizer, index, frozen=False):
    x = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(index))
    optimizer.zero_grad()
    model[2].weight.requires_grad_(not frozen)
    model(x).square().mean().backward()
    for group in optimizer.param_groups:
        group["lr"] = 0.1 / (1 + index)
    optimizer.step()


@pytest.fixture(autouse=True)
def _generator_kept():
    with torch.random.fork_rng():
        yield


@pytest.mark.parametrize(
    ("momentum", "nesterov", "memory_format"),
    [
        (momentum, nesterov, memory_format)
        for (momentum, nesterov), memory_format in product(
            [(0.0, False), (0.9, False), (0.9, True)], [torch.contiguous_format, torch.channels_last]
        )
    ],
)
def test_every_bit_is_that_of_torch(momentum, nesterov, memory_format):
    model, other = network(memory_format), network(memory_format)
    mine = Sgd(groups(model), 0.1, momentum, nesterov=nesterov)
    torchs = torch.optim.SGD(groups(other), 0.1, momentum, nesterov=nesterov)
    for index in range(5):
        frozen = index < 2  # a parameter that has no gradient at first
        step(model, mine, index, frozen)
        step(other, torchs, index, frozen)
        for value, expected in zip(model.parameters(), other.parameters(), strict=True):
            assert torch.equal(value, expected)
            assert value.stride() == expected.stride()
    assert not torch.equal(model[0].weight, network(memory_format)[0].weight)


def test_gradients_are_dropped_and_not_written_to():
    model = network(torch.contiguous_format)
    optimizer = Sgd(groups(model), 0.1, 0.9, nesterov=True)
    for index in range(2):
        step(model, optimizer, index)
        kept = [parameter.grad.clone() for parameter in model.parameters()]
        optimizer.step()
        assert all(torch.equal(p.grad, old) for p, old in zip(model.parameters(), kept, strict=True))
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_state_goes_on_where_it_stopped():
    model = network(torch.channels_last)
    optimizer = Sgd(groups(model), 0.1, 0.9, nesterov=True)
    step(model, optimizer, 0, frozen=True)
    other = copy.deepcopy(model)
    resumed = Sgd(groups(other), 0.1, 0.9, nesterov=True)
    state = optimizer.state_dict()
    resumed.load_state_dict(state)
    assert sum(momentum is None for momentum in state["momenta"]) == 1
    for index in (1, 2):
        step(model, optimizer, index)
        step(other, resumed, index)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())
    short = {"momenta": state["momenta"][:-1]}
    with pytest.raises(ValueError, match="argument"):
        resumed.load_state_dict(short)


LEAN = """
import sys, torch
from saam.comparison.job import build_model
from saam.comparison import Plan
from saam.training import Group, Recipe, Stepper
plan = Plan(recipe=Recipe(epochs=1, nesterov=True), arms=("none", "saam"), seeds=(0,), model_options={"width": 8})
stepper = Stepper(build_model(plan, "saam", seed=0, classes=3), plan.recipe, Group(0, 1, torch.device("cpu")))
stepper.step(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 0]), 0.5)
print([name for name in ("torch._dynamo", "scipy", "timm", "torchvision", "pandas", "pyarrow") if name in sys.modules])
"""


def test_a_worker_imports_neither_compiler_nor_statistics():
    done = subprocess.run([sys.executable, "-c", LEAN], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
