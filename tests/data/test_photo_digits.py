"""photo-digits: made anew alike, disjoint, with exact masks; the cache is whole or made again."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_sample_images

from saam.data import Images, Splits, load_data
from saam.data import photo_digits as module

PARTS = ("train", "validation", "test")


def load(**options: Any) -> Splits:
    return load_data("photo-digits", **{"train": 30, "validation": 12, "test": 20, **options})


def generate(part: str, count: int = 40, **options: Any) -> dict[str, Any]:
    defaults = {"size": 32, "digit_size": (12, 19), "distractors": 2, "seed": 0}
    return module._generate(part, count, **{**defaults, **options})


def images(splits: Splits, part: str) -> Images:
    found = getattr(splits, part)
    assert isinstance(found, Images)
    return found


def test_what_comes_out() -> None:
    splits = load()
    assert splits.classes == tuple("0123456789")
    assert splits.augmentation == ("crop",)
    for part, count in zip(PARTS, (30, 12, 20), strict=True):
        found = images(splits, part)
        assert found.masks is not None
        assert found.images.shape == (count, 3, 32, 32)
        assert found.masks.flatten(1).sum(dim=1).min() > 10


def test_the_same_seed_gives_the_same_images_and_another_seed_others(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    first, again, other = load(root=tmp_path / "1"), load(root=tmp_path / "2"), load(root=tmp_path / "1", seed=1)
    for part in PARTS:
        one, two, three = (images(splits, part) for splits in (first, again, other))
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.labels, two.labels)
        assert torch.equal(one.masks, two.masks)  # type: ignore[arg-type]
        assert not torch.equal(one.images, three.images)
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert torch.equal(torch.get_rng_state(), state)


def test_the_generator_is_the_one_of_this_version() -> None:
    """Fails when draws or ink change: then raise the generator's version, so that old cache files are not read."""
    made = generate("train", 20)
    content = made["masks"].tobytes() + made["labels"].tobytes() + made["corners"].astype(np.int64).tobytes()
    assert (module._VERSION, hashlib.sha256(content).hexdigest()[:16]) == (1, "05d63262d721d959")


def test_places_are_drawn_anew_for_each_seed_and_split() -> None:
    drawn = [generate(part, seed=seed)["corners"][:, :2].tobytes() for part in PARTS for seed in (0, 1)]
    assert len(set(drawn)) == 6


def test_more_images_of_one_split_leave_the_others_alone() -> None:
    assert torch.equal(images(load(), "test").images, images(load(train=50), "test").images)


def test_digits_and_photograph_halves_are_disjoint() -> None:
    made = {part: generate(part, 1500) for part in PARTS}
    digits = {part: set(found["digits"].flatten().tolist()) for part, found in made.items()}
    assert {part: len(found) for part, found in digits.items()} == pytest.approx(
        {"train": 1078, "validation": 180, "test": 539}, rel=0.1
    )
    for one in PARTS:
        for other in PARTS:
            assert one == other or not digits[one] & digits[other]
        assert not (made[one]["digits"][:, :1] == made[one]["digits"][:, 1:]).any()
    columns = {part: found["corners"][:, 2] for part, found in made.items()}
    assert max(columns["train"].max(), columns["validation"].max()) + 32 <= 320 <= columns["test"].min()
    assert columns["test"].max() + 32 <= 640
    assert all(set(found["corners"][:, 0].tolist()) == {0, 1} for found in made.values())


def test_the_digits_of_the_splits_are_a_division_of_all_that_there_are() -> None:
    for seed in (0, 5):
        parts = [module._digits_of(part, seed) for part in PARTS]
        assert sorted(np.concatenate(parts).tolist()) == list(range(1797))


@pytest.mark.parametrize("part", PARTS)
def test_outside_the_mask_is_the_photograph_and_inside_another_colour(part: str) -> None:
    made = generate(part, distractors=0)
    photos, target = load_sample_images().images, load_digits().target
    masks = np.unpackbits(made["masks"], axis=2).astype(bool)
    for i, (photo, row, column) in enumerate(made["corners"].tolist()):
        crop = photos[photo][row : row + 32, column : column + 32].transpose(2, 0, 1)
        different = (made["images"][i] != crop).any(axis=0)
        assert not different[~masks[i]].any()
        assert different[masks[i]].mean() > 0.9  # faint ink on a like colour may round to what was there
        assert made["labels"][i] == target[made["digits"][i, 0]]


def test_the_mask_is_the_digit_and_not_the_distractors() -> None:
    made, digits = generate("train", 60, distractors=3), load_digits().images
    masks = np.unpackbits(made["masks"], axis=2).astype(bool)
    assert made["digits"].shape == (60, 4)
    for mask, chosen in zip(masks, made["digits"].tolist(), strict=True):
        shapes = [module._resize(digits[chosen[:1]], size, 19)[0] > 0 for size in range(12, 20)]
        rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
        found = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        tight = [s[np.ix_(s.any(axis=1), s.any(axis=0))] for s in shapes]
        assert any(found.shape == shape.shape and (found == shape).all() for shape in tight)
        assert chosen[0] not in chosen[1:]


def test_paste_by_hand() -> None:
    canvas = np.full((1, 3, 4, 3), 100, np.uint8)
    ink = np.array([[[255, 0], [60, 255]]], np.uint8)
    colours = np.array([[[120, 130, 110], [200, 200, 0], [0, 0, 0]]])  # brightness 124: too near; 177: 77 away
    module._paste(canvas, ink, np.array([1]), np.array([2]), colours)
    expected = np.full((3, 4, 3), 100)
    expected[1, 2] = expected[2, 3] = (200, 200, 0)
    expected[2, 2] = (124, 124, 76)  # 60 / 255 of the way, rounded
    assert canvas[0].tolist() == expected.tolist()


def test_resize_by_hand() -> None:
    digit = np.zeros((1, 8, 8))
    digit[0, :, 3:5] = 16
    doubled = module._resize(digit, 16, 18)[0]
    # bilinear at 16: 4 beside the stroke, 12 at its rim, 16 within; ink is (value - 5) / 6 within 0..1
    assert doubled[:16].tolist() == [[0] * 6 + [255] * 4 + [0] * 8] * 16
    assert doubled[16:].tolist() == [[0] * 18] * 2
    digit[0, :, 3:5] = 8
    assert module._resize(digit, 8, 8)[0].tolist() == [[0, 0, 0, 127, 127, 0, 0, 0]] * 8


def test_every_digit_has_contrast_to_what_it_covers() -> None:
    made = generate("test", 200, distractors=0)
    photos = load_sample_images().images
    masks = np.unpackbits(made["masks"], axis=2).astype(bool)
    weights = np.array([77, 150, 29]) / 256
    for image, mask, (photo, row, column) in zip(made["images"], masks, made["corners"].tolist(), strict=True):
        before = (photos[photo][row : row + 32, column : column + 32] @ weights)[mask].mean()
        colours, counts = np.unique(image[:, mask].T, axis=0, return_counts=True)
        assert abs(colours[counts.argmax()] @ weights - before) > module.CONTRAST - 3


@pytest.mark.parametrize(("size", "digit_size"), [(24, (8, 10)), (40, (20, 40)), (17, (12, 12))])
def test_other_sizes(size: int, digit_size: tuple[int, int]) -> None:
    made = generate("train", size=size, digit_size=digit_size)
    masks = np.unpackbits(made["masks"], axis=2, count=size).astype(bool)
    assert made["images"].shape == (40, 3, size, size)
    heights = masks.any(axis=2).sum(axis=1)
    assert digit_size[0] * 0.6 < heights.min()
    assert heights.max() <= digit_size[1]


def test_the_cache_is_read_when_it_fits(own_cache: Path) -> None:
    load()
    (file,) = own_cache.iterdir()
    written = file.stat().st_mtime_ns
    os.utime(file, ns=(written, written - 1_000_000))
    assert load().fingerprint == load(digit_size=[12, 19]).fingerprint
    assert file.stat().st_mtime_ns == written - 1_000_000
    load(distractors=1)
    assert len(list(own_cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["half", "byte", "empty", "text", "key"])
def test_a_damaged_cache_file_is_made_again(own_cache: Path, damage: str) -> None:
    good = load().fingerprint
    (file,) = own_cache.iterdir()
    content = file.read_bytes()
    if damage == "key":
        np.savez(file, other=np.arange(3))
    else:
        middle = len(content) // 3
        flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
        file.write_bytes({"half": content[:middle], "byte": flipped, "empty": b"", "text": b"no"}[damage])
    assert load().fingerprint == good
    assert file.read_bytes() == content
    assert list(own_cache.iterdir()) == [file]


def test_a_failed_write_leaves_nothing_behind(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match=r"cannot write .*photo-digits-.*: disk full; set SAAM_CACHE to a folder"):
        load()
    assert list(own_cache.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"digit_size": (7, 12)}, "expected 8 <= smallest <= largest digit <= size <= 256"),
        ({"digit_size": (19, 12)}, "expected 8 <= smallest"),
        ({"size": 18}, "size=18, digit_size=\\(12, 19\\)"),
        ({"test": 0}, "expected images in each split"),
        ({"distractors": -1}, "distractors=-1"),
        ({"seed": -1}, "seed must be 0 or above, .*got -1"),
        ({"digit_size": (12, 15, 19)}, r"digit_size=\(12, 15, 19\): expected two whole numbers"),
        ({"digit_size": (12, 19.5)}, "expected two whole numbers"),
        ({"digit_size": "12-19"}, "digit_size='12-19': expected two whole numbers"),
    ],
)
def test_options_out_of_range_are_refused(own_cache: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(**options)
    assert not own_cache.exists()
