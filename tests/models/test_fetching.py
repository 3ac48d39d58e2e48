"""Published weights that cannot be had: one line, after a single try, and nothing stays changed."""

import socket
import time

import pytest
from torch import nn

from saam import create_model
from saam.models import backbones
from saam.models.backbones import _connected, _fetching


def test_a_failure_is_one_line_with_the_remedy():
    def fetch():
        with _fetching("timm:resnet18", pretrained=True):
            raise ConnectionError("no route\nto host " + "x" * 500)

    with pytest.raises(OSError, match="cannot fetch the published weights of timm:resnet18") as caught:
        fetch()
    text = str(caught.value)
    assert "ConnectionError: no route to host xxx" in text
    assert text.endswith("or leave out pretrained")
    assert "\n" not in text
    assert len(text) < 400


def test_other_mistakes_and_networks_from_scratch_are_left_alone():
    def fail(error, *, pretrained):
        with _fetching("timm:resnet18", pretrained=pretrained):
            raise error

    with pytest.raises(OSError, match=r"^disk$"):
        fail(OSError("disk"), pretrained=False)
    with pytest.raises(RuntimeError, match=r"^size$"):
        fail(RuntimeError("size"), pretrained=True)


@pytest.mark.parametrize("connected", [True, False])
def test_the_hub_is_asked_only_where_there_is_a_connection_and_is_put_back(monkeypatch, connected):
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(backbones, "_connected", lambda host: connected and host == "huggingface.co")
    monkeypatch.setattr(constants, "ENDPOINT", "https://huggingface.co")

    def fail():
        with _fetching("timm:x", pretrained=True):
            assert constants.HF_HUB_OFFLINE is not connected
            raise ValueError("anything")

    with pytest.raises(ValueError, match="anything"):
        fail()
    assert constants.HF_HUB_OFFLINE is False


def test_without_a_connection_the_answer_is_quick(monkeypatch):
    """timm and huggingface_hub themselves; no host can be reached and nothing is in the cache."""
    constants = pytest.importorskip("huggingface_hub").constants

    def refuse(*_, **__):
        raise OSError("network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(backbones, "getproxies", dict)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/nowhere")
    start = time.perf_counter()
    with pytest.raises(OSError, match="cannot fetch the published weights of timm:resnet18") as caught:
        create_model("timm:resnet18", pretrained=True)
    assert time.perf_counter() - start < 15
    assert "\n" not in str(caught.value)


def test_a_proxy_counts_as_a_connection(monkeypatch):
    def refuse(*_, **__):
        raise OSError

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(backbones, "getproxies", lambda: {"https": "http://proxy:1"})
    assert _connected("huggingface.co")
    monkeypatch.setattr(backbones, "getproxies", dict)
    assert not _connected("huggingface.co")


class Net(nn.Module):
    def __init__(self, num_classes=3, width=8):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(width, num_classes)

    def forward(self, x):
        return self.fc(self.pool(self.body(x)).flatten(1))


def narrow(width):
    return Net(width=width)


def test_a_class_or_function_of_the_users_own_gets_the_options_that_it_takes():
    assert create_model(Net).fc.out_features == 3
    model = create_model(Net, num_classes=7, width=4, attention="se", where=["body.1"], seed=0)
    assert (model.fc.in_features, model.fc.out_features) == (4, 7)
    plain, other = create_model(Net, seed=0, width=4, num_classes=7), create_model(Net, seed=1, width=4)
    assert plain.fc.weight.equal(model.fc.weight)
    assert not plain.body[0].weight.equal(other.body[0].weight)
    assert create_model(narrow, num_classes=7, width=5).fc.out_features == 3
    with pytest.raises(TypeError, match="wdith"):
        create_model(Net, wdith=3)
