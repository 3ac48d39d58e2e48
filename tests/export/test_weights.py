"""Weights as one safetensors file."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import saam
from saam.export import to_safetensors
from saam.models import rebuild
from small_networks import SMALL


def built():
    network = saam.create_model("resnet8", attention="saam", width=8, num_classes=3, seed=0).eval()
    network.preprocessing = SMALL
    return network


def test_the_network_can_be_rebuilt_from_the_file(tmp_path):
    network = built()
    exported = to_safetensors(network, tmp_path / "net.safetensors")
    assert (exported.difference, exported.axes, exported.outputs) == (0.0, (), ("logits",))
    with safe_open(exported.path, "pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["preprocessing"]) == SMALL.to_json()
    again = rebuild(json.loads(metadata["network"])).eval()
    again.load_state_dict(load_file(exported.path))
    x = torch.randn(2, 3, 16, 20)
    torch.testing.assert_close(again(x), network(x))
    assert again.preprocessing == SMALL


def test_attention_of_a_function(tmp_path):
    network = saam.create_model("resnet8", attention=saam.SAAM, width=8, num_classes=3).eval()
    exported = to_safetensors(network, tmp_path / "net.safetensors", preprocessing=SMALL)
    assert exported.difference == 0
    with safe_open(exported.path, "pt") as file:
        description = json.loads(file.metadata()["network"])
    rebuild(description, attention=saam.SAAM).load_state_dict(load_file(exported.path))


def test_a_network_of_ones_own_has_no_description(tmp_path):
    own = nn.Sequential(nn.Flatten(), nn.Linear(960, 3)).to(torch.bfloat16)
    exported = to_safetensors(own, tmp_path / "own.safetensors", preprocessing=SMALL)
    with safe_open(exported.path, "pt") as file:
        assert "network" not in file.metadata()
    assert load_file(exported.path)["1.weight"].dtype == torch.bfloat16


def test_a_network_that_was_changed_is_refused(tmp_path):
    network = built()
    network.fc = nn.Linear(32, 3, bias=False)
    with pytest.raises(ValueError, match="was changed after create_model made it"):
        to_safetensors(network, tmp_path / "net.safetensors")
