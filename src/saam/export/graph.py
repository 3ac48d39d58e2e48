"""The graph of a network: what torch.export records, with score maps as outputs and the sharpness as an input."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.fx.experimental.symbolic_shapes import is_concrete_int
from torch.utils._pytree import tree_unflatten

from saam._core.errors import one_line
from saam.explain.score_maps import collected_maps, score_pools
from saam.functional import use_backend
from saam.models import Preprocessing

__all__ = ["LARGER", "LOGITS", "Graph", "axes_of", "outputs_of", "require_logits", "trace"]

LOGITS = "logits"
"""Name of the first output; the others are named after their sites."""

LARGER = (32, 64)
"""What is added to height and width to try other sizes: multiples of what networks reduce the size by."""

_AXES = ("batch", None, "height", "width")


class Graph(nn.Module):
    """A copy of a network on the CPU, in float32 and evaluation mode, with named outputs.

    Args:
        model: Maps images (B, 3, H, W) to logits (B, classes, ...). It is not changed.
        maps: Whether the score maps are outputs.
        sharpness: Whether there is a second input, a scalar that multiplies the scores of every score squeeze: 1
            changes nothing, with 0 every squeeze is exactly the mean, and if it is large each head selects the pixel of
            its largest score. It is the inverse of a temperature.

    Shape:
        image (B, 3, H, W) and sharpness () -> {"logits": (B, classes, ...), site: (B, G, h, w), ...}

    Raises:
        ValueError: If maps or sharpness are requested and the network has no score squeeze, or a map would have the
            name of an input or of the logits.
    """

    def __init__(self, model: nn.Module, *, maps: bool = False, sharpness: bool = False) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).cpu().float().eval()
        self.maps, self.sharpness = maps, sharpness
        self.sites = tuple(score_pools(self.model)) if maps or sharpness else ()
        taken = {"image", LOGITS, *(["sharpness"] if sharpness else [])}.intersection(self.sites if maps else ())
        if taken:
            raise ValueError(
                f"the score map of site {min(taken)!r} would have the name of an input or of the logits: expected "
                "another name; rename this module of the network, or export without maps"
            )

    @use_backend("eager")
    def forward(self, image: Tensor, sharpness: Tensor | None = None) -> dict[str, Tensor]:
        """Return logits and score maps by name."""
        if not self.maps:
            with _sharpened(self.model, sharpness):
                return {LOGITS: self.model(image)}
        with _sharpened(self.model, sharpness), collected_maps(self.model) as maps:
            logits = self.model(image)
        return {LOGITS: logits, **{site: maps[site] for site in self.sites if site in maps}}

    def example(self, batch: int, size: tuple[int, int], *, seed: int = 0) -> tuple[Tensor, ...]:
        """Return normal images of this number and size, and the sharpness 1 if that is an input."""
        image = torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(seed), device="cpu")
        return (image, torch.tensor(1.0)) if self.sharpness else (image,)


def require_logits(graph: Graph, preprocessing: Preprocessing) -> None:
    """Run a graph once, and raise an error unless it returns finite logits for the classes of its preprocessing.

    Raises:
        ValueError: If it does not run on a batch of images, or returns something else.
    """
    inputs = graph.example(2, preprocessing.size)
    try:
        with torch.no_grad():
            outputs: dict[str, Any] = graph(*inputs)
    except Exception as error:  # a network may raise anything
        name, reason = type(graph.model).__name__, f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(
            f"this {name} does not run on images {tuple(inputs[0].shape)} ({reason}): expected a network whose forward "
            "takes one batch of RGB images of the size in the preprocessing; wrap it in a module that takes them"
        ) from error
    logits = outputs[LOGITS]
    if not isinstance(logits, Tensor) or logits.dim() < 2 or len(logits) != 2:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"expected a network that returns logits (B, classes), got {got}: wrap it in a module that returns them"
        )
    if logits.shape[1] != len(preprocessing.classes):
        raise ValueError(
            f"the preprocessing names {len(preprocessing.classes)} classes, but the network has {logits.shape[1]} "
            "logits: pass one name for each"
        )
    for output, value in outputs.items():
        if not value.isfinite().all():
            raise ValueError(
                f"the network itself gives NaN or infinity in {output!r} for random normal images: expected finite "
                "numbers; look for NaN and infinity in its weights and in the statistics of its norms"
            )


def trace(graph: Graph, size: tuple[int, int]) -> ExportedProgram:
    """Record a graph for any batch, height and width; a size that the network requires stays fixed.

    Raises:
        ValueError: If torch.export cannot record it.
    """
    example = graph.example(2, size)
    axes: dict[int, Any] = {0: Dim.DYNAMIC, **{axis: Dim.AUTO for axis in (2, 3) if _is_free(graph, size, axis)}}
    shapes = {"image": axes, **({"sharpness": None} if graph.sharpness else {})}
    try:
        with torch.no_grad():
            return torch.export.export(graph, example, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch.export raises errors of many kinds
        name, reason = type(graph.model).__name__, f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(
            f"torch.export cannot record this {name} ({reason}): replace what depends on the values of the images"
        ) from error


def _is_free(graph: Graph, size: tuple[int, int], axis: int) -> bool:
    """Return whether a graph takes images whose height (axis 2) or width (axis 3) is larger."""
    height, width = (side + more * (at == axis) for side, more, at in zip(size, LARGER, (2, 3), strict=True))
    try:
        with torch.no_grad():
            graph(*graph.example(1, (height, width)))
    except Exception:  # a network that requires a size may raise anything
        return False
    return True


def axes_of(program: ExportedProgram) -> dict[int, str]:
    """Return the name of each axis of the images that may have any length."""
    names = {spec.arg.name for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"}
    image = next(node for node in program.graph.nodes if node.op == "placeholder" and node.name in names)
    shape = image.meta["val"].shape
    return {axis: name for axis, name in enumerate(_AXES) if name and not is_concrete_int(shape[axis])}


def outputs_of(program: ExportedProgram) -> tuple[str, ...]:
    """Return the names of the outputs in their order."""
    spec = program.call_spec.out_spec
    assert spec is not None
    return tuple(tree_unflatten(range(spec.num_leaves), spec))


@contextmanager
def _sharpened(model: nn.Module, sharpness: Tensor | None) -> Iterator[None]:
    """Multiply the scores of every score squeeze by a scalar within the block."""
    pools = [] if sharpness is None else list(dict.fromkeys(pool for _, pool in score_pools(model).values()))
    for pool in pools:
        pool.scores = _multiplied(pool.scores, sharpness)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for pool in pools:
            del pool.scores


def _multiplied(scores: Any, sharpness: Tensor | None) -> Any:
    def multiplied(x: Tensor) -> Tensor:
        product: Tensor = scores(x) * sharpness
        return product

    return multiplied
