import json
from pathlib import Path

import pytest
import torch

import saam
from saam.models import Preprocessing, preprocessing_of

VALUES = {"size": [4, 6], "mean": [0.5, 0.25, 0.0], "std": [0.5, 0.25, 1.0], "classes": ["cat", "dog"]}


def made(**changes: object) -> Preprocessing:
    return Preprocessing(**{**VALUES, **changes})


def test_values_are_scaled_by_hand() -> None:
    pixels = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 6)
    x = made()(pixels)
    assert x.shape == (2, 3, 4, 6)
    assert x.dtype == torch.float32
    torch.testing.assert_close(x[0, :, 0, 0], torch.tensor([1.0, -1.0, 0.2]))


def test_an_image_of_another_size_covers_the_size_and_is_cropped_centrally() -> None:
    """An image of 4 x 20 keeps its height; of its columns the middle six stay."""
    columns = torch.arange(20, dtype=torch.uint8).expand(3, 4, 20).contiguous()
    x = Preprocessing((4, 6), (0.0,) * 3, (1 / 255,) * 3, ("a",))(columns)
    torch.testing.assert_close(x[0, 0, 0], torch.arange(7.0, 13.0))
    assert made()(torch.zeros(3, 900, 30, dtype=torch.uint8)).shape == (1, 3, 4, 6)


def test_resizing_agrees_with_the_images_of_a_folder(tmp_path: Path) -> None:
    """Within one level of 255: Pillow rounds at other places."""
    image = pytest.importorskip("PIL.Image")
    from saam.data.encoded import decode

    smooth = torch.nn.functional.interpolate(
        torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * 255, size=(50, 70), mode="bicubic"
    )
    pixels = smooth.clamp(0, 255).byte()[0]
    image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "a.png")
    ours = Preprocessing((16, 16), (0.0,) * 3, (1 / 255,) * 3, ("a",))(pixels)[0]
    assert (ours - decode(tmp_path / "a.png", "a", 16).float()).abs().max() <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": [4]}, "expected a height and a width"),
        ({"size": [4, 0]}, "expected a height and a width"),
        ({"size": [4, True]}, "expected a height and a width"),
        ({"size": [4, 10**6]}, "expected a height and a width"),
        ({"mean": [0.1, 0.2]}, "expected three numbers as mean"),
        ({"mean": [0.1, 0.2, float("nan")]}, "expected three numbers as mean"),
        ({"std": [0.1, 0.2, 0.0]}, "expected three numbers above 0 as std"),
        ({"classes": []}, "expected names that can be printed"),
        ({"classes": ["a\x1b[31m"]}, "expected names that can be printed"),
        ({"classes": [3]}, "expected names that can be printed"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, object], message: str) -> None:
    for build in (lambda: made(**change), lambda: Preprocessing.from_json({**VALUES, **change})):
        with pytest.raises(ValueError, match=message):
            build()


@pytest.mark.parametrize(
    "values", [None, [], {}, {**VALUES, "more": []}, {**VALUES, "size": 3}, {**VALUES, "mean": "abc"}]
)
def test_a_file_of_another_form_is_refused(values: object) -> None:
    with pytest.raises(ValueError, match="as preprocessing, got"):
        Preprocessing.from_json(values)


@pytest.mark.parametrize(
    "images", [torch.zeros(3, 4, 6), torch.zeros(1, 4, 6, dtype=torch.uint8), torch.zeros(4, dtype=torch.uint8)]
)
def test_other_images_are_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="expected images of uint8"):
        made()(images)


def test_it_is_saved_and_loaded_with_the_network(tmp_path: Path) -> None:
    model = saam.create_model("resnet8", attention="saam", width=8, num_classes=2, seed=0)
    assert preprocessing_of(model) is None
    saam.save(model, tmp_path / "plain")
    assert preprocessing_of(saam.load(tmp_path / "plain")) is None
    model.preprocessing = made()
    saam.save(model, tmp_path / "with")
    loaded = saam.load(tmp_path / "with")
    assert loaded.preprocessing == made()
    config = tmp_path / "with" / "config.json"
    content = json.loads(config.read_text())
    assert content["preprocessing"] == VALUES
    config.write_text(json.dumps({**content, "preprocessing": {**VALUES, "std": [0, 0, 0]}}))
    with pytest.raises(ValueError, match="expected three numbers above 0 as std"):
        saam.load(tmp_path / "with")


def test_pixels_are_the_input_before_it_is_normalised():
    prepare = Preprocessing(size=(8, 6), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2), classes=("a",))
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    pixels = prepare.pixels(image)
    assert pixels.dtype == torch.uint8
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (prepare.mean, prepare.std))
    assert ((pixels / 255 - mean) / std).numpy() == pytest.approx(prepare(image).numpy(), abs=1e-5)
    larger = prepare.pixels(image, scale=2)
    assert larger.shape == (1, 3, 16, 12)
    coarse = torch.nn.functional.avg_pool2d(larger.float(), 2)
    assert (coarse - pixels).abs().mean() < 12  # the same part of the image


@pytest.mark.parametrize("size", [(3, 5), (9, 2), (16, 16), (1, 1), (7, 30), (40, 12)])
def test_the_centre_of_an_enlarged_image_is_that_of_the_whole(size: tuple[int, int]) -> None:
    """Values between two levels may be rounded to either."""
    image = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    height, width = 41, 33
    scale = max(height / size[0], width / size[1])
    covering = max(height, round(size[0] * scale)), max(width, round(size[1] * scale))
    whole = torch.nn.functional.interpolate(image.float(), size=covering, mode="bilinear", antialias=True)
    top, left = (covering[0] - height) // 2, (covering[1] - width) // 2
    expected = whole[:, :, top : top + height, left : left + width]
    ours = Preprocessing((height, width), (0.0,) * 3, (1 / 255,) * 3, ("a",))(image)
    assert (ours - expected).abs().max() <= 0.51


@pytest.mark.parametrize("size", [(3, 100_000), (100_000, 1)])
def test_a_thin_image_is_enlarged_only_where_it_is_seen(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole enlarged image would have more than a hundred billion values."""
    monkeypatch.setattr(torch.nn.functional, "interpolate", None)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    assert made(size=(224, 224))(image).shape == (1, 3, 224, 224)
    assert made(size=(224, 224)).pixels(image, scale=2).shape == (1, 3, 448, 448)
