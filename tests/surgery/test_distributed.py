"""Distributed checkpoints and FSDP know a parameter by its name, and must find its key in the state dict."""

from collections.abc import Iterator

import pytest
import timm
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

import saam

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def attached() -> nn.Module:
    model = saam.create_model("resnet8", seed=0)
    saam.attach(model, "cbam")
    saam.attach(model, "saam", where="layer2")
    return model


def upgraded() -> nn.Module:
    model = timm.create_model("test_efficientnet", num_classes=3)
    saam.upgrade(model, head=True)
    saam.attach(model, "se", where="attention")
    return model


def kept_scores() -> nn.Module:
    model = timm.create_model("resnet10t", block_args={"attn_layer": "gc"}, num_classes=3)
    saam.upgrade(model)
    return model


def ddp(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model)


def fsdp1(model: nn.Module) -> nn.Module:
    return FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)


def fsdp2(model: nn.Module) -> nn.Module:
    mesh = init_device_mesh("cpu", (1,))
    for child in model.children():
        fully_shard(child, mesh=mesh)
    return fully_shard(model, mesh=mesh)


@pytest.mark.parametrize("wrap", [ddp, fsdp1, fsdp2])
@pytest.mark.parametrize("build", [attached, upgraded, kept_scores])
def test_distributed_checkpoints(build, wrap) -> None:
    model, wrapped = build(), wrap(build())
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.1, momentum=0.9)
    wrapped(torch.randn(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    options = StateDictOptions(full_state_dict=True)
    weights, moments = get_state_dict(wrapped, optimizer, options=options)
    assert weights.keys() == model.state_dict().keys()
    assert moments["state"].keys() <= weights.keys()
    model.load_state_dict(weights)
    set_state_dict(wrapped, optimizer, model_state_dict=weights, optim_state_dict=moments, options=options)
