"""Static quantisation: smaller, integer arithmetic, nearly the same predictions."""

import onnx
import pytest
import torch
from torch import nn

from saam.export import OnnxNetwork, to_int8
from small_networks import SMALL, tiny


def test_a_quantised_network_computes_with_integers_and_agrees(tmp_path):
    network = tiny()
    images = torch.randn(64, 3, *SMALL.size)
    small = to_int8(network, tmp_path / "int8.onnx", images, maps=True)
    assert small.outputs == ("logits", "1", "4")
    nodes = onnx.load(small.path).graph.node
    quantised = {node.input[0] for node in nodes if node.op_type == "QuantizeLinear"}
    outputs = {node.op_type: node.output[0] for node in nodes}
    assert len(quantised) > 3
    assert not {outputs["Softmax"], outputs["Sigmoid"]} & quantised
    assert "preprocessing" in OnnxNetwork(small.path).metadata
    x = torch.randn(200, 3, 24, 32)  # another size than that of the calibration
    with torch.no_grad():
        wanted = network(x)
    found = OnnxNetwork(small.path)(x)
    assert (found - wanted).abs().max() > 1e-4
    assert (found.argmax(1) == wanted.argmax(1)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (None, "got NoneType"),
        (torch.zeros(0, 3, 8, 8), r"got torch.float32 \(0, 3, 8, 8\): pass preprocessing\(images\)"),
        (torch.zeros(3, 8, 8), r"got torch.float32 \(3, 8, 8\)"),
        (torch.zeros(2, 1, 8, 8), r"got torch.float32 \(2, 1, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"got torch.uint8 \(2, 3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.float64), r"got torch.float64"),
        (torch.full((2, 3, 8, 8), torch.nan), "got NaN or infinity"),
    ],
    ids=["none", "empty", "one", "grey", "uint8", "float64", "nan"],
)
def test_images_that_cannot_calibrate_are_refused(images, got, tmp_path):
    with pytest.raises(ValueError, match=rf"expected normalised images of float32 \(n, 3, H, W\) .*, {got}"):
        to_int8(tiny(), tmp_path / "int8.onnx", images)
    assert list(tmp_path.iterdir()) == []


def test_images_must_have_the_size_that_the_network_requires(tmp_path):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 20, 3))
    with pytest.raises(ValueError, match=r"requires images of size \(16, 20\), got \(16, 16\) to calibrate on: resize"):
        to_int8(network, tmp_path / "int8.onnx", torch.randn(4, 3, 16, 16), preprocessing=SMALL)


def test_the_tolerance_is_that_of_the_float32_graph(tmp_path):
    images = torch.randn(4, 3, *SMALL.size)
    network = tiny()
    with torch.no_grad():
        network[-1].weight.mul_(1e5)
    with pytest.raises(ValueError, match=r"expected 0\.0001 at most: nothing was written; pass a larger tolerance="):
        to_int8(network, tmp_path / "int8.onnx", images)
    assert 1e-4 < to_int8(network, tmp_path / "int8.onnx", images, tolerance=10.0).difference < 10
