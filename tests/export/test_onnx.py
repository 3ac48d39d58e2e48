"""ONNX files: outputs, metadata, free axes, and what is refused."""

import errno
import json
import sys

import onnx
import pytest
import torch
from torch import nn

import saam
from saam.export import OnnxNetwork, to_onnx
from saam.export.graph import Graph
from saam.nn import ScorePool2d
from small_networks import SMALL, tiny


@pytest.fixture(scope="module")
def network():
    return tiny()


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    return to_onnx(network, tmp_path_factory.mktemp("onnx") / "net.onnx", maps=True, sharpness=True)


def test_one_file_with_preprocessing_and_named_axes(exported):
    assert [file.name for file in exported.path.parent.iterdir()] == ["net.onnx"]
    assert exported.size == exported.path.stat().st_size
    proto = onnx.load(exported.path)
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(metadata["preprocessing"]) == SMALL.to_json()
    assert metadata["saam"] == saam.__version__
    image, sharpness = proto.graph.input
    axes = [axis.dim_param or axis.dim_value for axis in image.type.tensor_type.shape.dim]
    assert axes == ["batch", 3, "height", "width"]
    assert (image.name, sharpness.name) == ("image", "sharpness")


def test_no_path_of_the_machine_is_in_the_file(exported):
    content = exported.path.read_bytes()
    assert b".py" not in content
    assert str(exported.path.parent).encode() not in content


def test_maps_are_those_of_score_maps(network, exported):
    x = torch.randn(5, 3, 24, 12)
    found = OnnxNetwork(exported.path).outputs(x, torch.tensor(1.0))
    maps = saam.score_maps(network, x)
    assert list(found) == ["logits", "1", "4"] == ["logits", *maps]
    for site, weights in maps.items():
        torch.testing.assert_close(found[site], weights, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(found["logits"], network(x), rtol=1e-4, atol=1e-5)


def test_sharpness_zero_is_the_mean_and_large_is_one_pixel(exported):
    x = torch.randn(2, 3, 16, 20)
    run = OnnxNetwork(exported.path).outputs
    for site in exported.outputs[1:]:
        mean, peak = (run(x, torch.tensor(value))[site] for value in (0.0, 1e6))
        torch.testing.assert_close(mean, torch.full_like(mean, 1 / mean[0, 0].numel()), rtol=1e-5, atol=0)
        torch.testing.assert_close(peak.amax((2, 3)), torch.ones(2, 1))


def test_the_network_is_not_changed(network, tmp_path):
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    to_onnx(network, tmp_path / "net.onnx")
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any("scores" in vars(module) for module in network.modules())
    network.eval()


class Pair(nn.Module):
    """A network that returns no logits."""

    def forward(self, x):
        return x, x


class Two(nn.Module):
    """A network of two inputs."""

    def forward(self, x, y):
        return x


def broken():
    """Return a network with a weight that is not a number."""
    network = tiny()
    with torch.no_grad():
        network.get_parameter("8.weight")[1, 2] = torch.nan
    return network


def named(site):
    """Return a network with a score squeeze of this name."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    network.add_module(site, ScorePool2d(8))
    network.append(nn.Linear(8, 3))
    return network


class Branch(nn.Module):
    """A network that depends on the values of the images."""

    def forward(self, x):
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (nn.Flatten(), {}, "pass preprocessing=saam.models.Preprocessing"),
        (nn.Flatten(), {"preprocessing": SMALL}, "names 3 classes, but the network has 960 logits"),
        (Pair(), {"preprocessing": SMALL}, r"expected a network that returns logits \(B, classes\), got tuple"),
        (
            Two(),
            {"preprocessing": SMALL},
            r"this Two does not run on images \(2, 3, 16, 20\) \(TypeError: .*'y'\): expected",
        ),
        (nn.Conv2d(1, 3, 3), {"preprocessing": SMALL}, r"this Conv2d does not run .*RuntimeError: .*: expected .* RGB"),
        (broken(), {}, "the network itself gives NaN or infinity in 'logits'"),
        (
            named("image"),
            {"preprocessing": SMALL, "maps": True},
            "score map of site 'image' would have the name of an input",
        ),
        (named("logits"), {"preprocessing": SMALL, "maps": True}, "score map of site 'logits' would have the name"),
        (
            named("sharpness"),
            {"preprocessing": SMALL, "maps": True, "sharpness": True},
            "score map of site 'sharpness'",
        ),
        (Branch(), {"preprocessing": SMALL}, "torch.export cannot record this Branch"),
        (tiny("se"), {"maps": True}, "expected a model with a score squeeze"),
        (tiny("se"), {"tolerance": -1.0}, "differs from PyTorch by .* in 'logits', expected -1 at most"),
    ],
)
def test_what_cannot_be_exported_says_why_and_leaves_no_file(network, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        to_onnx(network, tmp_path / "net.onnx", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("site", ["relu", "conv2d", "val_0", "sharpness"])
def test_a_site_may_have_the_name_of_an_operation(site, tmp_path):
    network = named(site)
    exported = to_onnx(network, tmp_path / "net.onnx", preprocessing=SMALL, maps=True)
    assert exported.outputs == ("logits", site)
    x = torch.randn(2, 3, 16, 20)
    torch.testing.assert_close(OnnxNetwork(exported.path).outputs(x)[site], saam.score_maps(network, x)[site])


def test_a_network_that_flattens_the_image_fixes_its_size(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 20, 3))
    assert to_onnx(network, tmp_path / "net.onnx", preprocessing=SMALL).axes == ("batch",)


def test_a_file_that_exists_is_kept(network, tmp_path):
    (tmp_path / "net.onnx").write_text("mine")
    with pytest.raises(FileExistsError, match=r"net\.onnx exists: choose another file, or remove it"):
        to_onnx(network, tmp_path / "net.onnx")
    assert (tmp_path / "net.onnx").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_named(network, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write to .*file"):
        to_onnx(network, tmp_path / "file" / "net.onnx")


def test_a_full_disk_names_the_file(network, tmp_path, monkeypatch):
    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(
            OSError, match=r"cannot write .*net\.onnx \(No space left on device\): it takes 0\.0 MB; free"
        ):
            to_onnx(network, tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_missing_packages_name_the_extra(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"ONNX needs onnxruntime: pip install 'saam\[export\]'"):
        to_onnx(network, tmp_path / "net.onnx")


def test_a_pool_that_two_attentions_share_is_sharpened_once():
    class Shared(torch.nn.Module):
        def __init__(self):
            super().__init__()
            pool = saam.ScorePool2d(3)
            torch.nn.init.normal_(pool.weight)
            self.first, self.second = (saam.create_attention("se", 3, squeeze=pool, rd_ratio=1) for _ in range(2))

        def forward(self, x):
            return self.second(self.first(x)).mean((2, 3))

    network, x = Shared().eval(), torch.randn(1, 3, 5, 5)
    graph = Graph(network, maps=True, sharpness=True)
    once, expected = graph(x, torch.ones(())), network(x)
    torch.testing.assert_close(once["logits"], expected)
    graph(x, torch.full((), 2.0))
    torch.testing.assert_close(network(x), expected)
