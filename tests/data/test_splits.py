"""Splits: disjoint, complete, in proportion, and checked."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saam.data import Images, Pools, Splits, build_splits, first_of_each_class, split_indices, splits
from saam.data.splits import complete_splits, draw_splits


def pool(count: int, classes: int = 3, seed: int = 0) -> Images:
    """Images whose first pixel is their number."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 3, 4, 5), generator=generator).to(torch.uint8)
    pixels[:, 0, 0, 0] = torch.arange(count)
    masks = torch.randint(0, 2, (count, 4, 5), generator=generator).bool()
    return Images(pixels, torch.randint(0, classes, (count,), generator=generator), masks)


def numbers(images: Any) -> set[int]:
    return set(images.images[:, 0, 0, 0].tolist())


def build(*parts: Images, **options: Any) -> Splits:
    defaults = {"name": "toy", "label": "Toy", "classes": ("a", "b", "c"), "augmentation": ()}
    return build_splits(*parts, **{**defaults, **options})


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 4), min_size=10, max_size=80), st.floats(0, 0.4), st.integers(0, 4), st.integers(0, 99))
def test_split_indices_divide_the_images(labels: list[int], share: float, test: int, seed: int) -> None:
    parts = split_indices(torch.tensor(labels), validation=share, test=test, seed=seed)
    assert sorted(torch.cat(parts).tolist()) == list(range(len(labels)))
    assert len(parts[1]) == (max(1, round(share * len(labels))) if share else 0)
    assert len(parts[2]) == test
    for part in parts:
        assert part.tolist() == sorted(part.tolist())


def test_split_indices_keep_classes_in_proportion() -> None:
    labels = torch.tensor([0] * 100 + [1] * 50 + [2] * 10)[
        torch.randperm(160, generator=torch.Generator().manual_seed(1))
    ]
    train, validation, test = split_indices(labels, validation=0.2, test=0.1, seed=3)
    assert labels[validation].bincount().tolist() == [20, 10, 2]
    assert labels[test].bincount().tolist() == [10, 5, 1]
    assert labels[train].bincount().tolist() == [70, 35, 7]


def test_split_indices_never_take_the_only_image_of_a_class() -> None:
    labels = torch.tensor([0] * 20 + [1])
    for seed in range(20):
        assert 20 in split_indices(labels, validation=0.2, test=0.2, seed=seed)[0]


def test_split_indices_depend_on_the_seed_only() -> None:
    labels = torch.arange(60) % 3
    torch.manual_seed(0)
    first, state = split_indices(labels, validation=0.2, test=0.2, seed=1), torch.get_rng_state()
    torch.manual_seed(5)
    second = split_indices(labels, validation=0.2, test=0.2, seed=1)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert not torch.equal(first[1], split_indices(labels, validation=0.2, test=0.2, seed=2)[1])
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": -0.1}, "validation=-0.1: expected a share"),
        ({"test": 1.5}, "test=1.5: expected a share from 0 to below 1, or a whole number"),
        ({"validation": float("nan")}, "validation=nan: expected a share"),
        ({"test": float("inf")}, "test=inf: expected a share"),
        ({"validation": 5, "test": 5}, "10 images cannot give 5 for validation, 5 for test and some for train"),
    ],
)
def test_split_indices_refuse_wrong_shares(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_indices(torch.arange(10) % 2, **options)


@pytest.mark.parametrize(
    "given_parts", [("train",), ("train", "test"), ("train", "validation"), ("train", "validation", "test")]
)
def test_completed_splits_never_mix(given_parts: tuple[str, ...]) -> None:
    images = pool(90)
    parts = [given_parts[i % len(given_parts)] for i in range(90)]
    pools = Pools.divide(images, parts, classes=("a", "b", "c"), label="")
    made = dict(
        zip(("train", "validation", "test"), complete_splits(pools, validation=0.2, test=6, seed=0), strict=True)
    )
    found = {part: numbers(split) for part, split in made.items()}
    assert sum(len(split) for split in made.values()) == 90
    assert set.union(*found.values()) == set(range(90))
    train = {i for i in range(90) if parts[i] == "train"}
    assert found["train"] <= train
    for part in ("validation", "test"):
        if part in given_parts:
            assert found[part] == {i for i in range(90) if parts[i] == part}
        else:
            assert found[part] <= train
            assert len(found[part]) == (6 if part == "test" else round(0.2 * len(train)))


def test_select_takes_images_labels_and_masks_together() -> None:
    images, indices = pool(20), torch.tensor([7, 3, 11])
    chosen = images.select(indices)
    assert chosen.masks is not None
    assert images.masks is not None
    for new, old in enumerate(indices.tolist()):
        assert torch.equal(chosen.images[new], images.images[old])
        assert chosen.labels[new] == images.labels[old]
        assert torch.equal(chosen.masks[new], images.masks[old])


def test_statistics_are_those_of_the_train_images() -> None:
    train = pool(70)
    splits = build(train, pool(10, seed=1), pool(10, seed=2))
    values = train.images.double() / 255
    assert splits.mean == pytest.approx(values.mean(dim=(0, 2, 3)).tolist())
    assert splits.std == pytest.approx(values.std(dim=(0, 2, 3), correction=0).tolist())


def test_the_fingerprint_knows_every_pixel_label_and_class() -> None:
    parts = [pool(5, seed=seed) for seed in range(3)]
    first = build(*parts).fingerprint
    assert first == build(*[pool(5, seed=seed) for seed in range(3)]).fingerprint
    found = {first, build(*parts, classes=("a", "b", "d")).fingerprint}
    for i in range(3):
        changed = list(parts)
        changed[i] = pool(5, seed=i)
        changed[i].images[4, 2, 3, 3] += 1
        found.add(build(*changed).fingerprint)
        changed[i] = pool(5, seed=i)
        changed[i].labels[4] = (changed[i].labels[4] + 1) % 3
        found.add(build(*changed).fingerprint)
    assert len(found) == 8


def test_classes_without_a_test_image_are_noted() -> None:
    parts = [pool(30, seed=seed) for seed in range(3)]
    assert build(*parts).notes == ()
    parts[2] = parts[2].select((parts[2].labels != 1).nonzero().squeeze(1))
    assert build(*parts).notes == ("no test image of 1 class: b",)
    named = build(*parts, classes=["a", "b", "c", *"defg"])
    assert named.notes == ("no test image of 5 classes: b, d, e, f, g",)
    assert build(*parts, classes=list("abcdefgh")).notes == ("no test image of 6 classes: b, d, e, f, g, ...",)


def test_the_note_on_classes_names_those_of_the_data_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splits, "_MANY", 1)  # notes that depend on the images alone are kept
    parts = [pool(30, classes=2, seed=seed) for seed in range(3)]
    for classes in (["a", "b", "c"], ["cat", "dog", "eel"]):
        assert build(*parts, classes=classes).notes == (f"no test image of 1 class: {classes[2]}",)


def test_a_label_that_is_no_class_is_refused() -> None:
    wrong = pool(6)
    for label in (-1, 3):
        wrong.labels[2] = label
        with pytest.raises(ValueError, match=f"the test split of Toy has the label {label}, expected 0 to 2 for its 3"):
            build(pool(6), pool(6), wrong)


def test_an_empty_split_and_one_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="the validation split of Toy is empty"):
        build(pool(6), pool(6).select(torch.tensor([], dtype=torch.int64)), pool(6))
    other = Images(torch.zeros(2, 3, 5, 5, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"the test images of Toy are \(5, 5\), the train images \(4, 5\); give size="):
        build(pool(6), pool(6), other)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ((torch.zeros(2, 3, 4, 4), torch.zeros(2).long()), r"expected uint8 \(N, 3, H, W\) images, got torch.float32"),
        ((torch.zeros(2, 1, 4, 4).byte(), torch.zeros(2).long()), r"got torch.uint8 \(2, 1, 4, 4\)"),
        ((torch.zeros(2, 3, 4, 4).byte(), torch.zeros(3).long()), "one for each of 2 images"),
        (
            (torch.zeros(2, 3, 4, 4).byte(), torch.zeros(2).long(), torch.zeros(2, 4, 3).bool()),
            r"bool \(2, 4, 4\) masks",
        ),
    ],
)
def test_images_check_their_tensors(tensors: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Images(*tensors)


def test_limit_keeps_a_part_of_each_split() -> None:
    pools = Pools(train=pool(60), validation=pool(9, seed=1), test=pool(30, seed=2), classes=["a", "b", "c"])
    whole, limited = (draw_splits(pools, name="made", seed=4, limit=limit) for limit in (None, 12))
    assert [len(part) for part in (limited.train, limited.validation, limited.test)] == [12, 9, 12]
    assert numbers(limited.train) < numbers(whole.train)
    assert limited.mean != whole.mean
    assert limited.fingerprint != whole.fingerprint
    with pytest.raises(ValueError, match="limit=0: expected at least one image"):
        draw_splits(pools, name="made", limit=0)


def test_examples_are_the_first_of_each_class():
    assert first_of_each_class(torch.tensor([1, 1, 0, 1, 0]), 4).tolist() == [2, 0, 4, 1]
    with pytest.raises(ValueError, match="expected one image or more, got images=0"):
        first_of_each_class(torch.tensor([1]), 0)


def test_labels_below_zero_are_refused_where_splits_are_drawn():
    with pytest.raises(ValueError, match="labels must be whole numbers from 0 on, got -1"):
        split_indices(torch.tensor([0, 1, -1, 1] * 5), validation=0.1, test=0.1, seed=0)
