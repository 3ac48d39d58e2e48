"""Test images to show."""

import pytest
import torch

from saam.data import Images, Splits, build_splits, first_test_images


def made(*, masks: bool) -> Splits:
    def some(count: int, seed: int) -> Images:
        generator = torch.Generator().manual_seed(seed)
        pixels = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
        return Images(pixels, torch.arange(count) % 2, torch.ones(count, 8, 8, dtype=torch.bool) if masks else None)

    parts = some(8, 0), some(4, 1), some(6, 2)
    return build_splits(*parts, name="made", label="made", classes=["a", "b"], augmentation=())


def test_images_without_an_object_are_left_out():
    splits = made(masks=True)
    splits.test.masks[2] = False
    assert first_test_images(splits, 4).indices == [0, 1, 2, 3]
    chosen = first_test_images(splits, 4, with_object=True)
    assert chosen.indices == [0, 1, 4, 3]
    assert torch.equal(chosen.pixels, splits.test.images[torch.tensor([0, 1, 4, 3])])
    assert chosen.truths == ["a", "b", "a", "b"]
    assert chosen.labels.tolist() == [0, 1, 0, 1]
    assert chosen.masks.flatten(1).all(1).all()
    assert first_test_images(splits, 100).labels.shape == (6,)


def test_data_without_masks_have_images_too():
    chosen = first_test_images(made(masks=False), 2, with_object=True)
    assert (chosen.indices, chosen.masks) == ([0, 1], None)
    with pytest.raises(ValueError, match="expected one image or more, got images=0"):
        first_test_images(made(masks=False), 0)
