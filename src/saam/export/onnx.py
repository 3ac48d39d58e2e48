"""Export a network to ONNX: one file for ONNX Runtime, for browsers and for other frameworks."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from saam._core.errors import one_line
from saam._version import __version__
from saam.export.graph import LOGITS, Graph, axes_of, outputs_of, require_logits, trace
from saam.export.parity import TOLERANCE, require_parity
from saam.export.result import Exported, new_file, written
from saam.models import Preprocessing, require_preprocessing

__all__ = ["CheckedOnnx", "OnnxNetwork", "checked_onnx", "require_onnx", "to_onnx"]


def to_onnx(
    model: nn.Module,
    path: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    maps: bool = False,
    sharpness: bool = False,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a network as one ONNX file, after checking that ONNX Runtime computes what PyTorch computes.

    The input "image" (B, 3, H, W) is normalised, as ``preprocessing(images)`` returns it. Batch, height and width may
    have any length, unless the network fixes its size. The output "logits" is (B, classes). The metadata hold the
    preprocessing as JSON: size, mean, std and classes.

    Args:
        model: Any network from images to logits. It is not changed.
        path: The file, which must not exist.
        preprocessing: How images become the input. None takes ``model.preprocessing``.
        maps: Whether the score maps are outputs, named after their sites.
        sharpness: Whether there is an input "sharpness", a scalar that multiplies the scores of every score squeeze: 1
            changes nothing, 0 is exactly the mean, a large one selects the pixel of the largest score.
        tolerance: Largest absolute difference of an output from PyTorch's.

    Returns:
        The file, and how far its logits differ from PyTorch's.

    Raises:
        FileExistsError: If there is a file at the path.
        ValueError: If there is no preprocessing, the network has no score squeeze for maps or sharpness, it cannot be
            exported, or its outputs differ from PyTorch's. Nothing is written then.
        ModuleNotFoundError: If onnx, onnxscript or onnxruntime is missing.
        OSError: If the file cannot be written.
    """
    with new_file(path) as file:
        known = require_preprocessing(model, preprocessing)
        made = checked_onnx(model, known, maps=maps, sharpness=sharpness, tolerance=tolerance)
        return written(file, made.content, difference=made.difference, axes=made.axes, outputs=made.outputs)


class CheckedOnnx(NamedTuple):
    """An ONNX file in memory that computes what PyTorch computes."""

    content: bytes
    axes: dict[int, str]
    """The axes of the images that may have any length."""
    outputs: tuple[str, ...]
    """Names of the outputs: the logits, then the sites of score maps."""
    difference: float
    """Largest absolute difference of the logits from PyTorch's."""


def checked_onnx(
    model: nn.Module,
    preprocessing: Preprocessing,
    *,
    maps: bool = False,
    sharpness: bool = False,
    tolerance: float = TOLERANCE,
) -> CheckedOnnx:
    """Convert a network to ONNX, and check that ONNX Runtime computes what PyTorch computes; see :func:`to_onnx`.

    Raises:
        ValueError: If the network has no score squeeze for maps or sharpness, it cannot be exported, or its outputs
            differ from PyTorch's.
        ModuleNotFoundError: If onnx, onnxscript or onnxruntime is missing.
    """
    graph = Graph(model, maps=maps, sharpness=sharpness)
    require_logits(graph, preprocessing)
    content, axes = _converted(graph, preprocessing)
    network = OnnxNetwork(content)
    difference = require_parity(graph, network.outputs, size=preprocessing.size, axes=axes, tolerance=tolerance)
    return CheckedOnnx(content, axes, network.names, difference)


def _converted(graph: Graph, preprocessing: Preprocessing) -> tuple[bytes, dict[int, str]]:
    require_onnx()
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass, NameFixPass

    program = trace(graph, preprocessing.size)
    axes = axes_of(program)
    shapes: dict[str, Any] = {"image": axes, **({"sharpness": {}} if graph.sharpness else {})}
    try:
        converted = torch.onnx.export(
            program,
            input_names=list(shapes),
            output_names=outputs_of(program),
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
    except RuntimeError as error:
        raise ValueError(
            f"{type(graph.model).__name__} cannot be converted to ONNX ({one_line(error)}): use torch.export, or "
            "replace the operation that ONNX lacks"
        ) from error
    assert converted is not None
    ClearMetadataAndDocStringPass()(converted.model)  # it holds the stack of every operation, with paths
    NameFixPass()(converted.model)  # a site may have the name of an inner value, such as "relu"
    proto = converted.model_proto
    described = {"saam": __version__, "preprocessing": json.dumps(preprocessing.to_json())}
    for key, value in described.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    return proto.SerializeToString(), axes


class OnnxNetwork(nn.Module):
    """A network of an ONNX file, run by ONNX Runtime on the CPU; it scores images like any other network.

    Args:
        source: The file, or its content.
        threads: Number of threads; 0 leaves it to ONNX Runtime.

    Shape:
        Images (B, 3, H, W) -> logits (B, classes), float32 on the CPU.

    Raises:
        ModuleNotFoundError: If onnxruntime is missing.
    """

    def __init__(self, source: str | Path | bytes, *, threads: int = 0) -> None:
        super().__init__()
        require_onnx()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        content = source if isinstance(source, bytes) else str(source)
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(entry.name for entry in self.session.get_inputs())
        self.names = tuple(entry.name for entry in self.session.get_outputs())
        self.metadata = dict(self.session.get_modelmeta().custom_metadata_map)

    def outputs(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return all outputs by name for the inputs in their order: images, then the sharpness if it is one."""
        fed = {name: value.numpy() for name, value in zip(self.inputs, inputs, strict=True)}
        return dict(zip(self.names, map(torch.from_numpy, self.session.run(None, fed)), strict=True))

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of images."""
        return self.outputs(image)[LOGITS]


def require_onnx() -> None:
    """Raise an error with the way to install them unless the packages for ONNX are there."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"ONNX needs {error.name}: pip install 'saam[export]'", name=error.name) from error
