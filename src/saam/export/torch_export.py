"""Export a network with torch.export: one file for PyTorch that needs neither saam nor the code of the network."""

import io
import json
from pathlib import Path

import torch
from torch import nn

from saam._version import __version__
from saam.export.graph import Graph, axes_of, outputs_of, require_logits, trace
from saam.export.parity import TOLERANCE, require_parity
from saam.export.result import Exported, new_file, written
from saam.models import Preprocessing, require_preprocessing

__all__ = ["to_torch_export"]


def to_torch_export(
    model: nn.Module,
    path: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    maps: bool = False,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write a network for ``torch.export.load(path).module()``, after checking that it computes the same.

    The loaded module maps images (B, 3, H, W) to a dict: "logits" (B, classes), and the score maps by site. The file
    has the extra files "preprocessing" (size, mean, std and classes as JSON) and "saam" (the version).

    Args:
        model: Any network from images to logits. It is not changed.
        path: The file, which must not exist; usually with the ending ``.pt2``.
        preprocessing: How images become the input. None takes ``model.preprocessing``.
        maps: Whether the score maps are outputs, named after their sites.
        tolerance: Largest absolute difference of an output from the network's own.

    Returns:
        The file, and how far its logits differ from the network's own.

    Raises:
        FileExistsError: If there is a file at the path.
        ValueError: If there is no preprocessing, the network has no score squeeze for maps, it cannot be exported, or
            its outputs differ. Nothing is written then.
        OSError: If the file cannot be written.
    """
    with new_file(path) as file:
        known = require_preprocessing(model, preprocessing)
        graph = Graph(model, maps=maps)
        require_logits(graph, known)
        program = trace(graph, known.size)
        axes, outputs = axes_of(program), outputs_of(program)
        buffer = io.BytesIO()
        described = {"saam": __version__, "preprocessing": json.dumps(known.to_json())}
        torch.export.save(program, buffer, extra_files=described)
        buffer.seek(0)
        loaded = torch.export.load(buffer).module()
        difference = require_parity(graph, loaded, size=known.size, axes=axes, tolerance=tolerance)
        return written(file, buffer.getvalue(), difference=difference, axes=axes, outputs=outputs)
