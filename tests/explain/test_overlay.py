import io

import pytest
import torch
from PIL import Image
from torch import Tensor

from saam.explain import overlay, strip


def images(count: int, height: int = 8, width: int = 8) -> Tensor:
    return torch.randint(
        0, 256, (count, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(2)
    )


def random_maps(*shape: int) -> Tensor:
    scores = torch.randn(*shape, generator=torch.Generator().manual_seed(3))
    return scores.flatten(2).softmax(-1).view(shape)


def test_overlay_is_the_colour_table_at_full_opacity() -> None:
    score_map = torch.tensor([[0.5, 0.0], [0.25, 0.25]])  # times 4 pixels: 2, 0, 1, 1; the ceiling is 2
    drawn = overlay(images(1, 2, 2)[0], score_map, opacity=1)
    assert drawn[:, 0, 0].tolist() == [252, 255, 164]  # the brightest colour
    assert drawn[:, 0, 1].tolist() == [0, 0, 4]  # the darkest
    assert drawn[:, 1, 0].tolist() == drawn[:, 1, 1].tolist() == [187, 55, 84]  # the middle
    assert overlay(images(1, 2, 2)[0], score_map, opacity=1, ceiling=4)[:, 0, 0].tolist() == [187, 55, 84]


def test_overlay_shows_the_grey_image_through() -> None:
    image = images(1, 2, 2)[0]
    grey = (image.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0).round()
    clear = overlay(image, torch.full((2, 2), 0.25), opacity=0)
    assert torch.equal(clear.float(), grey.expand(3, -1, -1))


def test_the_map_is_enlarged_smoothly() -> None:
    drawn = overlay(images(1, 8, 16)[0], random_maps(1, 1, 2, 4)[0, 0], opacity=1)
    assert drawn.shape == (3, 8, 16)
    assert len(drawn.flatten(1).unique(dim=1).T) > 8  # more colours than map pixels


def test_overlay_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ValueError, match=r"average the heads of a map with \.mean\(0\)"):
        overlay(images(1)[0], random_maps(1, 2, 4, 4)[0])
    with pytest.raises(ValueError, match=r"of torch\.float32"):
        overlay(images(1)[0].float(), random_maps(1, 1, 4, 4)[0, 0])
    with pytest.raises(ValueError, match="between 0 and 1, got 2"):
        overlay(images(1)[0], random_maps(1, 1, 4, 4)[0, 0], opacity=2)


def opened(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png)).convert("RGB")


def test_strip_lays_out_images_and_overlays() -> None:
    pictures = images(3)
    mild = torch.tensor([[1.06, 0.98], [0.98, 0.98]]) / 4
    maps = {"deep": random_maps(3, 2, 4, 4), "mild": mild.expand(3, 1, 2, 2)}
    made = strip(pictures, maps, labels=["a", "b", "c"], title="saam, seed 0", cell=32)
    assert repr(made) == f"ScoreMapStrip({', '.join(made.sites)}; {made.width} x {made.height} pixels)"
    assert made._repr_png_() == made.png
    grid = opened(made.png)
    assert (made.width, made.height) == grid.size
    assert made.title == "saam, seed 0"
    assert made.sites == ("deep", "mild")
    assert made.ceilings == (pytest.approx(maps["deep"].mean(1).mul(16).quantile(0.99).item()), 2.0)
    # the last column: image over overlays; pixel (i, j) of an 8x8 picture is a 4x4 block of the 32x32 cell
    x, gap = grid.width - 32, 2
    expected = [pictures[2], overlay(pictures[2], maps["deep"][2].mean(0), ceiling=made.ceilings[0])]
    expected.append(overlay(pictures[2], mild, ceiling=2.0))
    for row, picture in enumerate(reversed(expected)):
        y = grid.height - 32 - row * (32 + gap)
        for i, j in [(0, 0), (3, 5), (7, 7)]:
            assert grid.getpixel((x + 4 * j + 2, y + 4 * i + 2)) == tuple(picture[:, i, j].tolist())


def test_nothing_is_drawn_over_the_images_of_a_site_that_pools_as_the_mean_does() -> None:
    pictures = images(2)
    nearly = torch.tensor([[1.04, 0.98], [0.99, 0.99]]) / 4
    made = strip(pictures, {"a": nearly.expand(2, 1, 2, 2)}, cell=32)
    assert made.ceilings == (1.0,)
    grid = opened(made.png)
    grey = overlay(pictures[1], nearly, opacity=0)
    for i, j in [(0, 0), (3, 5), (7, 7)]:
        place = (grid.width - 32 + 4 * j + 2, grid.height - 32 + 4 * i + 2)
        assert grid.getpixel(place) == tuple(grey[:, i, j].tolist())
    uneven = torch.tensor([[1.04, 0.98], [0.90, 1.08]]) / 4  # one picture above the limit is enough: rows are compared
    assert strip(pictures, {"a": torch.stack([nearly, uneven]).unsqueeze(1)}, cell=32).ceilings == (2.0,)


def test_strip_chooses_sites() -> None:
    maps = {f"s{i}": random_maps(1, 1, 2, 2) for i in range(9)}
    assert strip(images(1), maps, cell=16).sites == ("s0", "s3", "s5", "s8")
    assert strip(images(1), maps, sites=["s7", "s1"], cell=16).sites == ("s7", "s1")


def test_strip_keeps_the_aspect_of_images_and_shows_labels() -> None:
    maps = {"a": random_maps(2, 1, 4, 4)}
    wide = strip(images(2, 8, 16), maps, cell=32)
    square = strip(images(2), maps, cell=32)
    assert square.height - wide.height == 32
    labelled = strip(images(2), maps, cell=32, labels=["cat", "dog"])
    other = strip(images(2), maps, cell=32, labels=["cat", "hen"])
    assert labelled.height > square.height
    assert labelled.png != other.png


def test_strip_refuses_what_does_not_fit() -> None:
    maps = {"a": random_maps(2, 1, 4, 4)}
    with pytest.raises(ValueError, match="expected sites among a; got b"):
        strip(images(2), maps, sites=["b"])
    with pytest.raises(ValueError, match=r"got \(3, 3, 8, 8\) and a \(2, 1, 4, 4\)"):
        strip(images(3), maps)
    with pytest.raises(ValueError, match="one label for each of 2 images, got 1"):
        strip(images(2), maps, labels=["x"])
    with pytest.raises(ValueError, match="and none"):
        strip(images(2), {})
