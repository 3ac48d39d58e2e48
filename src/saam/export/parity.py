"""Parity: an exported network must compute what PyTorch computes, also for sizes that it has not seen."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from saam._core.errors import one_line
from saam.export.graph import LARGER, LOGITS, Graph

__all__ = ["TOLERANCE", "require_parity"]

TOLERANCE = 1e-4
"""Largest absolute difference of an output that passes."""

_SHARPNESSES = (1.0, 0.0, 2.0)
_BATCHES = (1, 3)  # exported with 2

Outputs = Mapping[str, Tensor]


def require_parity(
    graph: Graph,
    exported: Callable[..., Outputs],
    *,
    size: tuple[int, int],
    axes: Mapping[int, str],
    tolerance: float = TOLERANCE,
) -> float:
    """Compare an exported network with PyTorch on random images of other numbers and sizes.

    Args:
        graph: The network in PyTorch.
        exported: The same function of images, and of a sharpness if the graph has one.
        size: Height and width of the images in the export.
        axes: The axes of the images that may have any length.
        tolerance: Largest absolute difference of an output.

    Returns:
        The largest absolute difference of the logits.

    Raises:
        ValueError: If the exported network does not run, an output has another shape or is not finite, or it differs by
            more than the tolerance.
    """
    other = tuple(side + more * (axis in axes) for side, more, axis in zip(size, LARGER, (2, 3), strict=True))
    largest = dict[str, float]()
    for batch in _BATCHES:
        for sharpness in _SHARPNESSES if graph.sharpness else (1.0,):
            image, *rest = graph.example(batch, (other[0], other[1]), seed=batch)
            inputs = (image, *(torch.full_like(value, sharpness) for value in rest))
            with torch.no_grad():
                expected, found = graph(*inputs), _run(exported, inputs)
            for name, value in expected.items():
                largest[name] = max(largest.get(name, 0.0), _difference(found[name], value))
    worst = max(largest, key=largest.__getitem__)
    if math.isinf(largest[worst]):
        raise ValueError(
            f"the exported network gives another shape, NaN or infinity in {worst!r}, where PyTorch gives finite "
            "numbers: nothing was written; export in another format"
        )
    if not largest[worst] <= tolerance:
        raise ValueError(
            f"the exported network differs from PyTorch by {largest[worst]:.2g} in {worst!r}, expected {tolerance:g} "
            "at most: nothing was written; pass a larger tolerance= if the outputs are large"
        )
    return largest[LOGITS]


def _run(exported: Callable[..., Outputs], inputs: tuple[Tensor, ...]) -> Outputs:
    try:
        return exported(*inputs)
    except Exception as error:  # each runtime has errors of its own
        shape = tuple(inputs[0].shape)
        raise ValueError(
            f"the exported network does not run on images {shape} ({one_line(error)}): nothing was written"
        ) from error


def _difference(found: Tensor, expected: Tensor) -> float:
    """Return the largest absolute difference; infinity if the shapes differ or a difference is not a number."""
    if found.shape != expected.shape:
        return math.inf
    difference = float((found - expected).abs().max())
    return math.inf if math.isnan(difference) else difference  # max() drops NaN
