"""Export a network: to ONNX, torch.export and safetensors, in int8, and as a page for the browser."""

from saam.export.int8 import to_int8
from saam.export.onnx import OnnxNetwork, to_onnx
from saam.export.result import Exported
from saam.export.torch_export import to_torch_export
from saam.export.weights import to_safetensors

__all__ = [
    "Exported",
    "OnnxNetwork",
    "to_int8",
    "to_onnx",
    "to_safetensors",
    "to_torch_export",
]
