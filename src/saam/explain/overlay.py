"""Pictures of score maps: one map over its image, and a strip of images with the maps of several sites.

Colour shows the weight of a pixel relative to mean pooling, which gives every pixel 1 / (h * w). A map is drawn as map
* h * w, from 0 (dark) to a ceiling (bright) that the caller or the label of the row states. The scale is not stretched,
so a nearly uniform map looks uniform. In a strip, a site where no pixel has 1.05 times the mean's weight is labelled
"nearly the mean", and nothing is drawn over its images.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ScoreMapStrip", "overlay", "strip"]

_COLOURS = torch.tensor(  # seventeen steps of matplotlib's perceptually uniform "inferno" (CC0)
    [
        (0, 0, 4), (11, 7, 36), (33, 12, 74), (60, 9, 101), (87, 16, 110), (111, 25, 110), (137, 34, 106),
        (161, 43, 98), (187, 55, 84), (209, 70, 68), (229, 92, 48), (243, 118, 27), (251, 154, 6),
        (251, 185, 31), (247, 217, 72), (242, 242, 125), (252, 255, 164),
    ],
    dtype=torch.float32,
)  # fmt: skip
NEAR_MEAN = 1.05  # a site is nearly the mean if its largest weight, relative to mean pooling, is below this
_FLATTEST = 2.0  # the smallest ceiling: a uniform map gets at most the middle colour


@dataclass(frozen=True, repr=False)
class ScoreMapStrip:
    """A grid of pictures: a row of images, then for each site a row of its maps over them.

    Attributes:
        png: The picture.
        width, height: Size of the picture, in pixels.
        title: The caption: whose maps these are.
        sites: Name of each row of maps, from the top.
        ceilings: For each of these rows, the weight that is drawn brightest, relative to mean pooling; 1 if the site is
            nearly the mean and nothing is drawn.
    """

    png: bytes
    width: int
    height: int
    title: str
    sites: tuple[str, ...]
    ceilings: tuple[float, ...]

    def __repr__(self) -> str:
        """Return what is drawn, without the picture."""
        return f"ScoreMapStrip({', '.join(self.sites)}; {self.width} x {self.height} pixels)"

    def _repr_png_(self) -> bytes:
        return self.png


def overlay(image: Tensor, score_map: Tensor, *, ceiling: float | None = None, opacity: float = 0.6) -> Tensor:
    """Draw a score map over its image in grey.

    Args:
        image: (3, H, W) uint8.
        score_map: (h, w), sums to one; bilinearly enlarged to the image.
        ceiling: Weight that is drawn brightest, relative to mean pooling. None takes that of the map's top 1 % of
            pixels, but at least 2.
        opacity: Opacity of the map, 0 to 1.

    Returns:
        (3, H, W) uint8.

    Raises:
        ValueError: If shapes are wrong, the image is not uint8, or the opacity is outside [0, 1].
    """
    if image.dim() != 3 or image.shape[0] != 3 or image.dtype != torch.uint8 or score_map.dim() != 2:
        raise ValueError(
            f"expected an image (3, H, W) of uint8 and a map (h, w), got {tuple(image.shape)} of {image.dtype} "
            f"and {tuple(score_map.shape)}; average the heads of a map with .mean(0)"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"expected opacity between 0 and 1, got {opacity}")
    relative = relative_weight(score_map.detach().float().cpu())
    top = ceiling if ceiling is not None else ceiling_of(relative)
    size = (image.shape[1], image.shape[2])
    shown = F.interpolate((relative / top)[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    grey = (image.cpu().float() * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(dim=0)
    return ((1 - opacity) * grey + opacity * _colour(shown)).round().clamp(0, 255).to(torch.uint8)


def strip(
    images: Tensor,
    maps: Mapping[str, Tensor],
    *,
    sites: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    title: str = "",
    cell: int = 128,
) -> ScoreMapStrip:
    """Draw a row of images and below it, for each site, its maps over the images (mean over the heads).

    Args:
        images: (B, 3, H, W) uint8.
        maps: Site name -> (B, G, h, w), as returned by `score_maps`.
        sites: Rows to draw, from the top. None draws up to four sites, evenly spaced from first to last.
        labels: A text above each image; None draws none.
        title: The caption: whose maps these are.
        cell: Longer side of one picture, in pixels.

    Returns:
        The strip. All maps of a row share one ceiling, so that they can be compared. A site that is nearly the mean
        shows the grey images.

    Raises:
        ValueError: If a site is unknown, or shapes and lengths do not match.
    """
    chosen = list(sites) if sites is not None else spread(list(maps), 4)
    if unknown := [site for site in chosen if site not in maps]:
        raise ValueError(f"expected sites among {', '.join(maps)}; got {', '.join(unknown)}")
    if not chosen or images.dim() != 4 or any(len(maps[site]) != len(images) for site in chosen):
        shapes = ", ".join(f"{site} {tuple(maps[site].shape)}" for site in chosen) or "none"
        raise ValueError(f"expected images (B, 3, H, W) and maps (B, G, h, w), got {tuple(images.shape)} and {shapes}")
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"expected one label for each of {len(images)} images, got {len(labels)}")
    means = [maps[site].detach().float().cpu().mean(dim=1) for site in chosen]
    ceilings = [1.0 if relative_weight(rows).max() < NEAR_MEAN else ceiling_of(relative_weight(rows)) for rows in means]
    pictures, names = [list(images.cpu())], ["image"]
    for site, rows, top in zip(chosen, means, ceilings, strict=True):
        opacity, meaning = (0.6, f"bright: {top:.1f} times\nthe mean's weight") if top > 1 else (0.0, "nearly the mean")
        names.append(f"{site}\n{meaning}")
        pictures.append(
            [overlay(image, row, ceiling=top, opacity=opacity) for image, row in zip(images, rows, strict=True)]
        )
    grid = _grid(pictures, names, labels, cell)
    return ScoreMapStrip(_png(grid), grid.width, grid.height, title, tuple(chosen), tuple(ceilings))


def as_png(pixels: Tensor) -> bytes:
    """Return an image (3, H, W) uint8 as the content of a PNG file."""
    from PIL import Image

    return _png(Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()))


def relative_weight(maps: Tensor) -> Tensor:
    """Return the weights relative to mean pooling: (..., h, w) -> same, mean 1 over the pixels."""
    return maps * (maps.shape[-2] * maps.shape[-1])


def ceiling_of(relative: Tensor) -> float:
    """Return the 99 % quantile, so that one pixel does not darken all others, but at least 2."""
    return max(_FLATTEST, float(relative.flatten().quantile(0.99)))


def _colour(value: Tensor) -> Tensor:
    """Look up the colour table with linear interpolation: (H, W) in [0, 1] -> (3, H, W) in [0, 255]."""
    position = value.clamp(0, 1) * (len(_COLOURS) - 1)
    low = position.floor().long().clamp(max=len(_COLOURS) - 2)
    return torch.lerp(_COLOURS[low], _COLOURS[low + 1], (position - low).unsqueeze(-1)).permute(2, 0, 1)


def spread(sites: list[str], count: int) -> list[str]:
    """Pick up to `count` sites, evenly from the first to the last."""
    if len(sites) <= count:
        return sites
    return [sites[round(i * (len(sites) - 1) / (count - 1))] for i in range(count)]


def _png(image: "Image") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _grid(
    pictures: Sequence[Sequence[Tensor]], names: Sequence[str], labels: Sequence[str] | None, cell: int
) -> "Image":
    """Arrange pictures on white, with row names on the left and labels on top."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=max(10, cell // 8))
    gap, line = cell // 16, cell // 6
    left = max(int(font.getbbox(part)[2]) for name in names for part in name.split("\n")) + 2 * gap
    heads = [wrap(label, int(cell / font.getlength("n"))) for label in labels or ()]
    top = max(map(len, heads), default=0) * line + gap // 2
    height, width = pictures[0][0].shape[1:]
    scale = cell / max(height, width)
    tile = (round(width * scale), round(height * scale))
    resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    size = (left + len(pictures[0]) * (tile[0] + gap) - gap, top + len(pictures) * (tile[1] + gap) - gap)
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)
    for column, head in enumerate(heads):
        for place, text in enumerate(head):
            draw.text((left + column * (tile[0] + gap), place * line), text, fill=(70, 70, 70), font=font)
    for row, (name, line_of_pictures) in enumerate(zip(names, pictures, strict=True)):
        y = top + row * (tile[1] + gap)
        draw.multiline_text((0, y + tile[1] // 2), name, fill=(70, 70, 70), font=font, anchor="lm", spacing=gap)
        for column, picture in enumerate(line_of_pictures):
            drawn = Image.fromarray(picture.permute(1, 2, 0).contiguous().numpy()).resize(tile, resample)
            canvas.paste(drawn, (left + column * (tile[0] + gap), y))
    return canvas
