"""What a network takes and what its logits mean: image size, colours and class names, kept with its weights."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saam._core.errors import printable

__all__ = ["Preprocessing", "preprocessing_of", "require_preprocessing"]

_LARGEST_SIDE, _MOST_CLASSES = 65_536, 1_000_000


@dataclass(frozen=True)
class Preprocessing:
    """How images become the input of a network. Trained networks have it as ``network.preprocessing``.

    Attributes:
        size: Height and width of the images that the network was trained on.
        mean: Means of red, green and blue, in 0..1.
        std: Standard deviations, likewise.
        classes: Names of the classes in the order of the logits.

    Raises:
        ValueError: If a value is out of its range.

    Example:
        >>> half = Preprocessing(size=(2, 2), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), classes=("cat", "dog"))
        >>> half(torch.full((1, 3, 4, 6), 255, dtype=torch.uint8)).shape
        torch.Size([1, 3, 2, 2])
    """

    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("size", "mean", "std", "classes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.size) != 2 or not all(_whole(side) and 0 < side <= _LARGEST_SIDE for side in self.size):
            raise ValueError(f"expected a height and a width of 1 to {_LARGEST_SIDE} as size, got {self.size!r:.80}")
        for name, least in (("mean", -math.inf), ("std", 0.0)):
            values = getattr(self, name)
            if len(values) != 3 or not all(_number(value) and value > least for value in values):
                kind = "numbers above 0" if least == 0 else "numbers"
                raise ValueError(f"expected three {kind} as {name}, got {values!r:.80}")
        if not 0 < len(self.classes) <= _MOST_CLASSES or not all(
            isinstance(name, str) and name == printable(name) for name in self.classes
        ):
            raise ValueError(f"expected names that can be printed as classes, got {self.classes!r:.80}")

    def __call__(self, images: Tensor) -> Tensor:
        """Return the input of the network for images: resized to cover the size, cropped centrally, normalised.

        Args:
            images: uint8 (3, h, w) or (B, 3, h, w), of any size.

        Returns:
            float32 (B, 3, H, W), on the device of the images.

        Raises:
            ValueError: If the images have another shape or type.
        """
        x = self._fit(_checked(images))
        mean, std = (255 * torch.tensor(values, device=x.device).view(-1, 1, 1) for values in (self.mean, self.std))
        return (x - mean) / std

    def pixels(self, images: Tensor, *, scale: int = 1) -> Tensor:
        """Return what the network sees of images, before normalisation: resized and cropped.

        Args:
            images: uint8 (3, h, w) or (B, 3, h, w), of any size.
            scale: Factor on the size, for a picture of the same part of the images with more pixels.

        Returns:
            uint8 (B, 3, scale * H, scale * W).

        Raises:
            ValueError: If the images have another shape or type.
        """
        larger = replace(self, size=(scale * self.size[0], scale * self.size[1]))
        return larger._fit(_checked(images)).to(torch.uint8)

    def _fit(self, x: Tensor) -> Tensor:
        (h, w), (height, width) = x.shape[2:], self.size
        if (h, w) == (height, width):
            return x
        scale = max(height / h, width / w)
        covering = max(height, round(h * scale)), max(width, round(w * scale))
        if scale >= 1:
            x = _enlarged_centre(x, covering, self.size)
        else:
            x = F.interpolate(x, size=covering, mode="bilinear", antialias=True, align_corners=False)
            top, left = (covering[0] - height) // 2, (covering[1] - width) // 2
            x = x[:, :, top : top + height, left : left + width]
        return x.round().clamp(0, 255)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the inverse of :meth:`from_json`."""
        return {name: list(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Return the preprocessing that a file holds.

        Raises:
            ValueError: If a value is missing, unknown or out of its range.
        """
        names = {"size", "mean", "std", "classes"}
        if not isinstance(values, dict) or values.keys() != names or not all(map(_is_list, values.values())):
            raise ValueError(f"expected lists of {', '.join(sorted(names))} as preprocessing, got {values!r:.80}")
        return cls(**values)


def preprocessing_of(model: nn.Module) -> Preprocessing | None:
    """Return the preprocessing that a network was saved with; None if it has none."""
    found = getattr(model, "preprocessing", None)
    return found if isinstance(found, Preprocessing) else None


def require_preprocessing(model: nn.Module, given: Preprocessing | None = None) -> Preprocessing:
    """Return the preprocessing that is given, or that of the network.

    Raises:
        ValueError: If there is none.
    """
    found = given or preprocessing_of(model)
    if found is None:
        raise ValueError(
            f"{type(model).__name__} does not say how images become its input: pass preprocessing=saam.models."
            "Preprocessing(size=(224, 224), mean=(...), std=(...), classes=[...]), or set network.preprocessing to it"
        )
    return found


def _checked(images: Tensor) -> Tensor:
    """Return images (B, 3, h, w) as float32."""
    if images.dtype != torch.uint8 or images.dim() not in (3, 4) or images.shape[-3] != 3 or not images.numel():
        raise ValueError(
            f"expected images of uint8 (3, h, w) or (B, 3, h, w), got {images.dtype} {tuple(images.shape)}; "
            "convert an image to RGB with 8 bits per colour"
        )
    return images.reshape(-1, *images.shape[-3:]).float()


def _enlarged_centre(x: Tensor, covering: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Return the centre of x (B, C, h, w), enlarged bilinearly, without making the enlarged image around it.

    Args:
        x: The images.
        covering: Height and width of the whole enlarged image, at least those of x.
        size: Height and width of its centre.
    """
    places = []
    for axis, (whole, part) in enumerate(zip(covering, size, strict=True), 2):
        first, step = (whole - part) // 2, x.shape[axis] / whole
        centres = (first + torch.arange(part, dtype=torch.float64) + 0.5) * step  # in pixels from the edge of x
        start, end = max(0, int(centres[0] - 0.5)), min(x.shape[axis], int(centres[-1] + 0.5) + 1)
        x = x.narrow(axis, start, end - start)
        places.append((2 * (centres - start) / (end - start) - 1).to(x))
    rows, columns = torch.meshgrid(*places, indexing="ij")
    grid = torch.stack((columns, rows), 2).expand(len(x), *size, 2)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
