import pytest
import torch
from torch import Tensor

from saam.data import Images, build_splits
from saam.models import create_model
from saam.report.examples import data_strip


def some(count: int, seed: int) -> Images:
    generator = torch.Generator().manual_seed(seed)
    pixels: Tensor = torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return Images(pixels, torch.arange(count) % 2)


@pytest.mark.parametrize("images", [0, -1])
def test_less_than_one_image_is_refused(images: int) -> None:
    parts = some(8, 0), some(4, 1), some(6, 2)
    splits = build_splits(*parts, name="made", label="made", classes=["a", "b"], augmentation=())
    model = create_model("resnet8", attention="saam", num_classes=2, width=8)
    with pytest.raises(ValueError, match=f"one image or more, got images={images}"):
        data_strip(model, splits, images=images)
    assert data_strip(model, splits, images=1).width > 0
