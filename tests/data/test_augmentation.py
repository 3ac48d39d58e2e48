"""Augmentation against literal loops; every image has its own draw."""

import pytest
import torch
from torch import Generator, Tensor

from saam.data import augment, cutout, list_augmentations, random_crop, random_flip

DTYPES = [torch.uint8, torch.float32]


def random_images(batch: int, H: int, W: int, dtype: torch.dtype) -> Tensor:
    pixels = torch.randint(1, 256, (batch, 3, H, W), generator=Generator().manual_seed(1))
    return pixels.to(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("H", "W", "padding"), [(7, 5, 3), (32, 32, None), (3, 9, None)])
def test_random_crop_cuts_a_window_of_the_padded_image(H: int, W: int, padding: int | None, dtype: torch.dtype) -> None:
    x = random_images(6, H, W, dtype)
    result = random_crop(x, Generator().manual_seed(3), padding=padding)

    pad = padding or {32: 4, 3: 1}[H]
    draws = torch.randint(0, 2 * pad + 1, (6, 2), generator=Generator().manual_seed(3)).tolist()
    expected = torch.zeros_like(x)
    for b, (top, left) in enumerate(draws):
        for row in range(H):
            for column in range(W):
                old_row, old_column = row + top - pad, column + left - pad
                if 0 <= old_row < H and 0 <= old_column < W:
                    expected[b, :, row, column] = x[b, :, old_row, old_column]
    assert result.dtype == dtype
    assert torch.equal(result, expected)


def test_random_crop_reaches_all_places() -> None:
    x = random_images(1, 4, 4, torch.uint8).expand(400, -1, -1, -1)
    distinct = {tuple(image.flatten().tolist()) for image in random_crop(x, Generator().manual_seed(0), padding=2)}
    assert len(distinct) == 25


@pytest.mark.parametrize("dtype", DTYPES)
def test_random_flip_mirrors_some_images_and_leaves_the_others(dtype: torch.dtype) -> None:
    x = random_images(200, 5, 6, dtype)
    result = random_flip(x, Generator().manual_seed(3))
    draws = torch.randint(0, 2, (200,), generator=Generator().manual_seed(3)).tolist()
    for image, old, flipped in zip(result, x, draws, strict=True):
        for column in range(6):
            assert torch.equal(image[:, :, column], old[:, :, 5 - column if flipped else column])
    assert result.dtype == dtype
    assert 70 < sum(draws) < 130


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("H", "W", "length"), [(9, 6, 4), (8, 8, None), (6, 9, 3)])
def test_cutout_blanks_one_square(H: int, W: int, length: int | None, dtype: torch.dtype) -> None:
    x = random_images(7, H, W, dtype)
    result = cutout(x, Generator().manual_seed(3), length=length)
    generator, side = Generator().manual_seed(3), length or 4
    rows = torch.randint(0, H, (7,), generator=generator).tolist()
    columns = torch.randint(0, W, (7,), generator=generator).tolist()
    expected = x.clone()
    for b in range(7):
        for row in range(rows[b] - side // 2, rows[b] - side // 2 + side):
            for column in range(columns[b] - side // 2, columns[b] - side // 2 + side):
                if 0 <= row < H and 0 <= column < W:
                    for channel in range(3):
                        mean = sum(x[b, channel].flatten().tolist()) / (H * W)
                        expected[b, channel, row, column] = int(mean) if dtype == torch.uint8 else mean
    assert result.dtype == dtype
    assert torch.allclose(result.float(), expected.float(), rtol=1e-5)


@pytest.mark.parametrize("name", list_augmentations())
def test_each_image_has_its_own_draw(name: str) -> None:
    image = random_images(1, 16, 16, torch.uint8)
    result = augment(image.expand(64, -1, -1, -1), name, Generator().manual_seed(0))
    distinct = len(result.flatten(1).unique(dim=0))
    assert distinct == 2 if name == "flip" else distinct > 20


@pytest.mark.parametrize("name", list_augmentations())
def test_the_input_and_the_global_generator_stay_as_they_are(name: str) -> None:
    x = random_images(8, 6, 6, torch.uint8)
    before, state = x.clone(), torch.get_rng_state()
    first = augment(x, name, Generator().manual_seed(4))
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert torch.equal(first, augment(x, name, Generator().manual_seed(4)))
    assert not torch.equal(first, augment(x, name, Generator().manual_seed(5)))


def test_unknown_augmentation_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown augmentation 'flipp': did you mean 'flip'"):
        augment(random_images(2, 4, 4, torch.uint8), "flipp", Generator())


@pytest.mark.parametrize("name", ["trivial-augment", "rand-augment"])
def test_policies_of_torchvision_keep_type_and_shape_and_draw_for_each_image(name: str) -> None:
    x = random_images(1, 12, 10, torch.uint8).expand(40, -1, -1, -1)
    generator = Generator().manual_seed(3)
    result = augment(x, name, generator)
    assert (result.dtype, result.shape) == (torch.uint8, x.shape)
    assert len(result.flatten(1).unique(dim=0)) > 12
    more = augment(x, name, generator)  # the generator has moved on
    assert not torch.equal(more, result)
    again = Generator().manual_seed(3)
    assert torch.equal(augment(x, name, again), result)
    assert torch.equal(augment(x, name, again), more)
    assert generator.get_state().equal(again.get_state())


@pytest.mark.parametrize(
    ("name", "transform"), [("trivial-augment", "TrivialAugmentWide"), ("rand-augment", "RandAugment")]
)
def test_policies_are_those_of_torchvision(name: str, transform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.transforms import v2

    seen: list[Tensor] = []

    def inverted(image: Tensor) -> Tensor:
        seen.append(image)
        return 255 - image

    monkeypatch.setattr(v2, transform, lambda: inverted)
    x = random_images(5, 6, 7, torch.uint8)
    assert torch.equal(augment(x, name, Generator().manual_seed(0)), 255 - x)
    assert [image.shape for image in seen] == [(3, 6, 7)] * 5
