"""Everything that is shown of a network's decisions on a few images: predictions, maps and gates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from saam._core.devices import device_of
from saam._core.errors import hinted, printable
from saam._core.modes import mode
from saam.data.image_files import pixels_of
from saam.explain.attribution import WHY_NO_GRAD_CAM, methods_for
from saam.explain.drawing import Drawing, attribution_rows, gate_rows, percent, score_rows, selected
from saam.explain.figure import draw
from saam.explain.gate_use import attentions_of, gate_factors
from saam.explain.page import fragment, page
from saam.explain.photographs import read_photograph
from saam.explain.score_maps import has_scores, score_maps
from saam.models import Preprocessing, require_preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

    Photograph = Tensor | str | Path | Image

__all__ = ["Explanation", "explain"]

_SHOWN = 256  # pixels along the shorter side of a shown image, about
_LONGEST = 2048  # pixels along its longer side, unless the input has more
_LISTED = 3  # the most probable classes of an image
_WHY_NO_MAPS = (
    "There are no score maps: the network has no score squeeze. A squeeze such as the mean gives every pixel the same "
    "weight. saam.upgrade(network) replaces the mean by the learned squeeze, which must then be trained."
)


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """A network's decisions on B images, and where they come from.

    Maps are non-negative and sum to one over their pixels. A map times its number of pixels is the weight relative to
    that of the mean, 1 everywhere for a uniform map.

    Attributes:
        title: Whose decisions these are.
        names: Name of each image.
        images: uint8 (B, 3, H, W), the part of the images that the network sees.
        classes: Names of the classes.
        probabilities: (B, classes).
        truths: Name of the true class of each image; None where it is not known.
        scores: Site -> (B, G, h, w), the weights of its pooling for each head; empty without score squeezes.
        attributions: Method -> (B, 1, h, w) for the predicted class: "integrated gradients", and "Grad-CAM" if the
            network has a feature map.
        gates: Site -> (B, C), the factor of each channel; empty without attention. See :class:`saam.explain.GateUse`.
        notes: What is missing, and why.
    """

    title: str
    names: tuple[str, ...]
    images: Tensor
    classes: tuple[str, ...]
    probabilities: Tensor
    truths: tuple[str | None, ...]
    scores: dict[str, Tensor]
    attributions: dict[str, Tensor]
    gates: dict[str, Tensor]
    notes: tuple[str, ...]

    @property
    def predictions(self) -> tuple[tuple[str, float], ...]:
        """Name and probability of the predicted class of each image."""
        best = self.probabilities.max(1)
        return tuple(
            (self.classes[index], p) for index, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        )

    def drawing(self, *, sites: Sequence[str] = (), heads: bool = False) -> Drawing:
        """Return what a picture or a page shows; the arguments are those of :meth:`to_png`.

        Raises:
            ValueError: If a site is unknown.
        """
        known = self.scores | self.gates
        for site in sites:
            if site not in known:
                raise ValueError(hinted(f"unknown site {site!r}", site, known))
        guesses = [guess for guess, _ in self.predictions]
        wrong = [truth is not None and truth != guess for truth, guess in zip(self.truths, guesses, strict=True)]
        scores = score_rows(selected(self.scores, sites), heads=heads)
        return Drawing(
            title=self.title,
            names=self.names,
            images=self.images,
            predictions=tuple(
                f"{guess}, {percent(p)}" + (f" (true: {truth})" if is_wrong else "")
                for (guess, p), truth, is_wrong in zip(self.predictions, self.truths, wrong, strict=True)
            ),
            wrong=tuple(wrong),
            likely=tuple(map(self._likely, self.probabilities)),
            maps=(*scores, *attribution_rows(self.attributions)),
            gates=tuple(gate_rows(selected(self.gates, sites))),
            notes=self.notes,
        )

    def _likely(self, row: Tensor) -> tuple[str, ...]:
        best = row.topk(min(_LISTED, len(row)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return tuple(f"{self.classes[place]}: {percent(p)}" for place, p in pairs)

    def to_png(self, *, sites: Sequence[str] = (), heads: bool = False) -> bytes:
        """Return one picture with all images and their maps.

        Args:
            sites: Sites whose maps and gates are drawn. By default up to four, evenly spaced from first to last.
            heads: Draw each head of a site in its own row, not their mean.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed.
            ValueError: If a site is unknown.
        """
        return draw(self.drawing(sites=sites, heads=heads))

    def to_html(self, *, sites: Sequence[str] = (), heads: bool = False) -> str:
        """Return a page that needs no other file; the arguments are those of :meth:`to_png`.

        Raises:
            ModuleNotFoundError: If jinja2 or matplotlib is not installed.
            ValueError: If a site is unknown.
        """
        return page(self.drawing(sites=sites, heads=heads))

    def __repr__(self) -> str:
        """Return what there is, without the values."""
        shown = f"{len(self.names)} images, {len(self.scores)} sites with score maps, {len(self.gates)} with gates"
        return f"Explanation({self.title!r}: {shown})" if self.title else f"Explanation({shown})"

    def _repr_png_(self) -> bytes:
        return self.to_png()

    def _repr_html_(self) -> str:
        return fragment(self.drawing())


def explain(
    model: nn.Module,
    images: "Photograph | Sequence[Photograph]",
    *,
    preprocessing: Preprocessing | None = None,
    names: Sequence[str] | None = None,
    truths: Sequence[str | None] | None = None,
    title: str = "",
) -> Explanation:
    """Explain a classifier's decisions on a few images.

    The model runs in eval mode; modes are restored and no gradient is stored in its parameters.

    Args:
        model: A network with logits (B, classes), with or without attention.
        images: uint8 (B, 3, h, w), or files, images of Pillow and tensors uint8 (3, h, w), of any sizes: one, or a
            list.
        preprocessing: How images become the model's input. None takes that of a trained network, which it has as
            ``model.preprocessing``.
        names: Names of the images. By default the names of the files, or numbers.
        truths: Names of their true classes, as far as they are known.
        title: Whose decisions these are.

    Returns:
        Predictions, maps and gates, on the CPU. A notebook shows it as a page.

    Raises:
        ModuleNotFoundError: If captum is not installed.
        ValueError: If there is no preprocessing, no image, an image that cannot be read, or an output that is not one
            row of logits per image with one for each class.
        FileNotFoundError: If a file does not exist.
    """
    prepare = require_preprocessing(model, preprocessing)
    given = _listed(images)
    chosen = [_pixels(image) for image in given]
    if not chosen:
        raise ValueError("expected one image or more, got none: pass files, or a tensor uint8 (B, 3, h, w)")
    labels = tuple(map(printable, names)) if names is not None else tuple(map(_name, given, range(len(chosen))))
    known = tuple(truths) if truths is not None else (None,) * len(chosen)
    if {len(labels), len(known)} != {len(chosen)}:
        raise ValueError(
            f"expected a name and a true class for each of {len(chosen)} images, got {len(labels)} names and "
            f"{len(known)} classes; None stands for a class that is not known"
        )
    x = torch.cat([prepare(image) for image in chosen]).to(device_of(model))
    probabilities = class_probabilities(model, x, classes=len(prepare.classes))
    predicted = probabilities.argmax(1)
    scored, attended = has_scores(model), bool(attentions_of(model))
    methods = methods_for(model, x)
    return Explanation(
        title=title,
        names=labels,
        images=_shown(prepare, chosen),
        classes=prepare.classes,
        probabilities=probabilities.cpu(),
        truths=known,
        scores={site: maps.cpu().float() for site, maps in score_maps(model, x).items()} if scored else {},
        attributions={name: method(model, x, predicted).cpu() for name, method in methods.items()},
        gates=gate_factors(model, x) if attended else {},
        notes=(() if scored else (_WHY_NO_MAPS,)) + (() if "Grad-CAM" in methods else (WHY_NO_GRAD_CAM,)),
    )


def class_probabilities(model: nn.Module, x: Tensor, *, classes: int) -> Tensor:
    """Run the model in eval mode on x (B, C, H, W) and return its probabilities (B, classes).

    Raises:
        ValueError: If the output has another shape, or is not finite.
    """
    with mode(model, training=False), torch.no_grad():
        logits = model(x)
    got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if got != (len(x), classes):
        raise ValueError(f"expected logits {(len(x), classes)}, one for each class, got {got}: pass a classifier")
    if not logits.isfinite().all():
        raise ValueError("the network's logits are not finite: look for NaN in its weights and in the preprocessing")
    return logits.float().softmax(1)


def _listed(images: "Photograph | Sequence[Photograph]") -> Sequence["Photograph"]:
    """Return images as a sequence, although there may be one alone."""
    if isinstance(images, Tensor):
        return list(images) if images.dim() == 4 else [images]
    return images if isinstance(images, Sequence) and not isinstance(images, str) else [images]


def _pixels(image: "Photograph") -> Tensor:
    if isinstance(image, str | Path):
        return read_photograph(image)
    if isinstance(image, Tensor):
        return image
    if not hasattr(image, "getexif"):
        raise ValueError(f"expected tensors uint8 (3, h, w), files, or images of Pillow, got {type(image).__name__}")
    return pixels_of(image)


def _name(image: "Photograph", number: int) -> str:
    return printable(Path(image).name) if isinstance(image, str | Path) else f"image {number + 1}"


def _shown(prepare: Preprocessing, images: Sequence[Tensor]) -> Tensor:
    """Return the part that the network sees, with more pixels than its input if there are any."""
    short, long = sorted(prepare.size)
    finest = max(min(image.shape[1] / prepare.size[0], image.shape[2] / prepare.size[1]) for image in images)
    scale = max(1, min(int(finest), round(_SHOWN / short), _LONGEST // long))
    return torch.cat([prepare.pixels(image, scale=scale).cpu() for image in images])
