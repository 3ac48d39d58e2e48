"""Write the page of a network: a folder of static files that compute in the browser, without a server's code."""

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from saam._core.files import writable
from saam._version import __version__
from saam.explain.overlay import as_png
from saam.explain.score_maps import has_scores
from saam.export.onnx import checked_onnx
from saam.export.page.runtime import VERSION, runtime_files
from saam.export.parity import TOLERANCE
from saam.export.result import save
from saam.models import Preprocessing, require_preprocessing

__all__ = ["Page", "Sample", "write_page"]


class Sample(NamedTuple):
    """An image to choose on a page, uint8 (3, H, W), and the name of its class."""

    image: Tensor
    label: str


class Page(NamedTuple):
    """A page that was written."""

    folder: Path
    """Its folder."""
    size: int
    """Bytes of all its files."""
    first_load: int
    """Bytes that a browser without WebGPU loads."""
    difference: float
    """Largest absolute difference of the logits from PyTorch's."""


def write_page(
    model: nn.Module,
    folder: str | Path,
    *,
    preprocessing: Preprocessing | None = None,
    samples: Sequence[Sample] = (),
    title: str = "saam",
    tolerance: float = TOLERANCE,
) -> Page:
    """Write a page that shows the predictions and score maps of a network for any image, computed in the browser.

    The folder works from any web server, such as ``python -m http.server``, and loads nothing from elsewhere.
    onnxruntime-web is fetched from the npm registry once and then kept in the cache folder.

    Args:
        model: Any network from images to logits; score maps are shown if it has score squeezes.
        folder: An empty or new folder.
        preprocessing: How images become the input. None takes ``model.preprocessing``.
        samples: Images to choose on the page.
        title: Title of the page.
        tolerance: Largest absolute difference of an output from PyTorch's.

    Raises:
        FileExistsError: If the folder is not empty.
        ValueError: If there is no preprocessing, or the network cannot be exported or differs from PyTorch.
        ModuleNotFoundError: If a package of ``saam[export]`` is missing.
        OSError: If onnxruntime-web cannot be fetched, or the folder cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not an empty folder: choose another one, or remove it")
    known = require_preprocessing(model, preprocessing)
    scored = has_scores(model)
    made = checked_onnx(model, known, maps=scored, sharpness=scored, tolerance=tolerance)
    described = {
        "title": title,
        "preprocessing": known.to_json(),
        "sites": list(made.outputs[1:]),
        "samples": [{"file": f"samples/{index}.png", "label": each.label} for index, each in enumerate(samples)],
        "runtime": VERSION,
        "saam": __version__,
    }
    files = {
        "model.onnx": made.content,
        "page.json": (json.dumps(described, indent=1, ensure_ascii=False) + "\n").encode(),
        **{entry.name: entry.read_bytes() for entry in (resources.files(__package__) / "static").iterdir()},
        **{f"samples/{index}.png": as_png(each.image) for index, each in enumerate(samples)},
        **{f"ort/{name}": each for name, each in runtime_files().items()},
    }
    with writable(folder), writable(folder / "samples"), writable(folder / "ort"):
        save({folder / name: each for name, each in files.items()})
    sizes = {name: len(each) for name, each in files.items()}
    extra = sum(size for name, size in sizes.items() if "webgpu" in name or "asyncify" in name)
    return Page(folder, sum(sizes.values()), sum(sizes.values()) - extra, made.difference)
