"""Static quantisation: a network in int8, with ranges calibrated on training images."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saam.export.onnx import checked_onnx
from saam.export.parity import TOLERANCE
from saam.export.result import Exported, new_file, written
from saam.models import Preprocessing, require_preprocessing

__all__ = ["to_int8"]

_LAYERS = ["Conv", "Gemm", "MatMul", "Add", "Relu", "GlobalAveragePool", "MaxPool", "AveragePool"]


def to_int8(
    model: nn.Module,
    path: str | Path,
    images: Tensor,
    *,
    preprocessing: Preprocessing | None = None,
    maps: bool = False,
    tolerance: float = TOLERANCE,
    batch_size: int = 32,
) -> Exported:
    """Write a network as an ONNX file whose convolutions and matrix products compute in int8.

    Weights are quantised per channel to 7 bits, so that no product overflows on processors without VNNI, and
    activations per tensor to 8 bits, with the ranges that they have on the images. Softmax, sigmoid and the weighted
    sums stay in float32. The float32 graph is checked against PyTorch before; score the result on test images with
    :class:`OnnxNetwork`.

    Args:
        model: Any network from images to logits. It is not changed.
        path: The file, which must not exist.
        images: Input of the network (n, 3, H, W), normalised; a few hundred training images.
        preprocessing: How images become the input. None takes ``model.preprocessing``.
        maps: Whether the score maps are outputs, named after their sites.
        tolerance: Largest absolute difference of an output of the float32 graph from PyTorch's.
        batch_size: Images per batch of the calibration.

    Returns:
        The file, and how far the logits of the float32 graph differ from PyTorch's.

    Raises:
        FileExistsError: If there is a file at the path.
        ValueError: If the images cannot calibrate the network, and as :func:`saam.export.to_onnx`.
        ModuleNotFoundError: If onnx, onnxscript or onnxruntime is missing.
        OSError: If the file cannot be written.
    """
    with new_file(path) as file:
        _check(images)
        known = require_preprocessing(model, preprocessing)
        made = checked_onnx(model, known, maps=maps, tolerance=tolerance)
        _check_size(images, known.size, made.axes)
        try:
            quantised = _quantised(made.content, torch.split(images.detach().cpu(), batch_size))
        except OSError as error:
            raise OSError(
                f"cannot write temporary files to {tempfile.gettempdir()} ({error.strerror or error}): free space "
                "there, or set TMPDIR to another folder"
            ) from error
        return written(file, quantised, difference=made.difference, axes=made.axes, outputs=made.outputs)


def _check(images: Tensor) -> None:
    """Refuse what cannot calibrate a network.

    Raises:
        ValueError: If it is not a batch of finite float32 images.
    """
    wanted = "expected normalised images of float32 (n, 3, H, W) to calibrate on"
    if not isinstance(images, Tensor):
        raise ValueError(f"{wanted}, got {type(images).__name__}: pass preprocessing(images) of training images")
    if images.dtype != torch.float32 or images.dim() != 4 or images.shape[1] != 3 or not images.numel():
        raise ValueError(
            f"{wanted}, got {images.dtype} {tuple(images.shape)}: pass preprocessing(images) of training images"
        )
    if not images.isfinite().all():
        raise ValueError(f"{wanted}, got NaN or infinity: remove the images that are not finite")


def _check_size(images: Tensor, size: tuple[int, int], axes: Mapping[int, str]) -> None:
    """Refuse images of another size than the one that the network requires.

    Raises:
        ValueError: If height or width is fixed, and theirs differs.
    """
    found = tuple(images.shape[2:])
    if any(axis not in axes and found[axis - 2] != size[axis - 2] for axis in (2, 3)):
        raise ValueError(f"this network requires images of size {size}, got {found} to calibrate on: resize them")


def _quantised(content: bytes, batches: tuple[Tensor, ...]) -> bytes:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Yield the batches in the form that ONNX Runtime expects."""

        def __init__(self) -> None:
            self._batches: Iterator[Tensor] = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"image": batch.numpy()}

    with tempfile.TemporaryDirectory() as folder:
        written, prepared, result = (Path(folder) / f"{name}.onnx" for name in ("float", "prepared", "int8"))
        written.write_bytes(content)
        quant_pre_process(str(written), str(prepared), skip_symbolic_shape=True)
        with torch.no_grad():
            quantize_static(
                str(prepared),
                str(result),
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_LAYERS,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        return result.read_bytes()
