"""Export the weights of a network as one safetensors file that says what network they belong to."""

import copy
import json
from pathlib import Path

from torch import nn

from saam._core.weights import stored
from saam._version import __version__
from saam.export.graph import LOGITS, Graph, require_logits
from saam.export.parity import TOLERANCE, require_parity
from saam.export.result import Exported, new_file, written
from saam.models import Preprocessing, describe, model_card, rebuild, require_preprocessing
from saam.models.saving import attached_function, tensors_of

__all__ = ["to_safetensors"]


def to_safetensors(
    model: nn.Module,
    path: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    tolerance: float = TOLERANCE,
) -> Exported:
    """Write the weights of a network in their dtypes, after checking that they give the same logits.

    The metadata of the file hold "preprocessing" (size, mean, std and classes as JSON), "network" (the description that
    :func:`saam.models.rebuild` builds the network from, given the function if the attention was one; absent for a
    network that :func:`saam.create_model` cannot build), and "saam" (the version).

    Args:
        model: Any network from images to logits.
        path: The file, which must not exist.
        preprocessing: How images become the input. None takes ``model.preprocessing``.
        tolerance: Largest absolute difference of the logits.

    Returns:
        The file, and how far the logits of its weights differ from the network's own.

    Raises:
        FileExistsError: If there is a file at the path.
        ValueError: If there is no preprocessing, the logits differ, the state dict holds something else than tensors,
            or the network was made by :func:`saam.create_model` and changed afterwards. Nothing is written then.
        OSError: If the file cannot be written.
    """
    from safetensors.torch import load, save

    with new_file(path) as file:
        known = require_preprocessing(model, preprocessing)
        graph = Graph(model)
        require_logits(graph, known)
        description = describe(model) if model_card(model) else None
        metadata = {"format": "pt", "saam": __version__, "preprocessing": json.dumps(known.to_json())}
        if description:
            metadata["network"] = json.dumps(description)
        content = save(stored(tensors_of(model)), metadata=metadata)
        built = rebuild(description, attention=attached_function(model)) if description else copy.deepcopy(model)
        built.load_state_dict(load(content))
        difference = require_parity(graph, Graph(built), size=known.size, axes={}, tolerance=tolerance)
        return written(file, content, difference=difference, axes={}, outputs=(LOGITS,))
