"""Static quantisation: smaller, integer arithmetic, nearly the same predictions."""

import onnx
import pytest
import torch

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


def test_images_are_required(tmp_path):
    with pytest.raises(ValueError, match=r"expected images \(n, 3, H, W\) to calibrate on, got \(0, 3, 8, 8\)"):
        to_int8(tiny(), tmp_path / "int8.onnx", torch.zeros(0, 3, 8, 8))
