"""Batches: what they hold, and what their order and draws depend on."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch._subclasses import FakeTensorMode

from saam.data import Batches, Images, Splits, build_splits, normalise, score_batches, train_batches
from saam.data.encoded import EncodedImages, load_encoded

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def images(count: int, seed: int = 0) -> Images:
    pixels = torch.randint(0, 256, (count, 3, 16, 12), generator=torch.Generator().manual_seed(seed))
    return Images(pixels.to(torch.uint8), torch.arange(count))


def batches(source: Images | EncodedImages, **options: object) -> Batches:
    return Batches(source, **{"batch_size": 4, "mean": MEAN, "std": STD, **options})  # type: ignore[arg-type]


def epoch(source: Batches, number: int = 0) -> tuple[Tensor, Tensor]:
    x, y = zip(*source.epoch(number), strict=True)
    return torch.cat(x), torch.cat(y)


def test_plain_batches_hold_the_normalised_images_in_order() -> None:
    source = images(10)
    parts = list(batches(source))
    assert [len(y) for _, y in parts] == [4, 4, 2]
    x, y = torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])
    assert y.tolist() == list(range(10))
    assert x.dtype == torch.float32
    for i in range(10):
        for channel in range(3):
            expected = (source.images[i, channel].double() / 255 - MEAN[channel]) / STD[channel]
            assert torch.allclose(x[i, channel].double(), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("count", "drop_last", "expected"), [(10, False, 3), (10, True, 2), (8, False, 2), (8, True, 2)]
)
def test_length_is_the_number_of_batches(count: int, drop_last: bool, expected: int) -> None:
    source = batches(images(count), drop_last=drop_last)
    assert len(source) == expected
    assert len(list(source)) == expected


def test_shuffled_epochs_hold_every_image_once_in_an_order_of_their_own() -> None:
    source = batches(images(50), shuffle=True)
    orders = [epoch(source, number)[1].tolist() for number in range(3)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] != list(range(50))
    x, y = epoch(source, 1)
    assert torch.equal(x, normalise(images(50).images[y], MEAN, STD))


def test_an_epoch_depends_on_seed_and_epoch_only() -> None:
    def draw(number: int, seed: int) -> Tensor:
        return epoch(batches(images(20), shuffle=True, augmentation=("crop", "flip", "cutout"), seed=seed), number)[0]

    torch.manual_seed(0)
    first, state = draw(2, 7), torch.get_rng_state()
    torch.manual_seed(1)
    source = batches(images(20), shuffle=True, augmentation=("crop", "flip", "cutout"), seed=7)
    epoch(source, 0)
    running = source.epoch(1)
    next(running)
    assert torch.equal(first, epoch(source, 2)[0])
    assert not torch.equal(first, draw(3, 7))
    assert not torch.equal(first, draw(2, 8))
    torch.manual_seed(0)
    draw(2, 7)
    assert torch.equal(torch.get_rng_state(), state)


def test_one_more_augmentation_leaves_order_and_other_draws_alone() -> None:
    plain = epoch(batches(images(40), shuffle=True, augmentation=("crop",)), 3)
    flipped = epoch(batches(images(40), shuffle=True, augmentation=("crop", "flip")), 3)
    assert torch.equal(plain[1], flipped[1])
    same = [torch.equal(one, other) for one, other in zip(plain[0], flipped[0], strict=True)]
    mirrored = [torch.equal(one, other.flip(-1)) for one, other in zip(plain[0], flipped[0], strict=True)]
    assert all(one or other for one, other in zip(same, mirrored, strict=True))
    assert 8 < sum(same) < 32


def test_order_and_each_augmentation_have_seeds_of_their_own() -> None:
    seeds = {
        batches(images(4), seed=seed)._generator(purpose, number).initial_seed()
        for seed in (0, 1)
        for number in (0, 1)
        for purpose in ("order", "crop", "flip")
    }
    assert len(seeds) == 12


def test_draws_do_not_depend_on_the_batch_size() -> None:
    small, large = (
        epoch(batches(images(30), batch_size=size, shuffle=True, augmentation=("crop", "flip")), 1) for size in (4, 30)
    )
    assert torch.equal(small[0], large[0])


def toy_splits(*counts: int) -> Splits:
    parts = [images(count, seed) for seed, count in enumerate(counts)]
    classes = [str(i) for i in range(max(counts))]
    return build_splits(*parts, name="toy", label="Toy", classes=classes, augmentation=("crop", "flip"))


def test_train_batches_are_shuffled_and_augmented_train_images() -> None:
    splits = toy_splits(12, 5, 7)
    usual = {"mean": splits.mean, "std": splits.std, "batch_size": 4, "seed": 6, "shuffle": True}
    for given, meant in ((None, ("crop", "flip")), (("cutout",), ("cutout",)), ((), ())):
        found = epoch(train_batches(splits, batch_size=4, seed=6, augmentation=given), 2)
        expected = epoch(batches(splits.train, augmentation=meant, **usual), 2)  # type: ignore[arg-type]
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize(("count", "expected"), [(12, [4, 4, 4]), (13, [4, 4, 4]), (14, [4, 4, 4, 2])])
def test_train_batches_leave_out_a_single_last_image_only(count: int, expected: list[int]) -> None:
    assert [len(y) for _, y in train_batches(toy_splits(count, 2, 2), batch_size=4, seed=0)] == expected


def test_score_batches_are_the_images_as_they_are() -> None:
    splits = toy_splits(12, 5, 7)
    for part, source in (("validation", splits.validation), ("test", splits.test)):
        x, y = epoch(score_batches(splits, part, batch_size=4))  # type: ignore[arg-type]
        assert torch.equal(y, source.labels)
        assert torch.equal(x, normalise(next(source.read([torch.arange(len(source))])), splits.mean, splits.std))


@pytest.mark.parametrize("workers", [0, 2])
def test_encoded_images_give_the_same_batches_as_decoded_ones(tmp_path: Path, workers: int) -> None:
    files = [tmp_path / f"{i}.png" for i in range(6)]
    pixels = torch.randint(0, 256, (6, 3, 70, 66), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file)
    encoded, *_ = load_encoded(files, [file.name for file in files], range(6), workers=workers)
    assert isinstance(encoded, EncodedImages)
    state = torch.get_rng_state()
    options = {"shuffle": True, "augmentation": ("crop", "flip"), "seed": 3}
    found, labels = epoch(batches(encoded, **options), 4)
    assert torch.equal(torch.get_rng_state(), state)
    expected, expected_labels = epoch(batches(Images(pixels, torch.arange(6)), **options), 4)
    assert torch.equal(found, expected)
    assert torch.equal(labels, expected_labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: expected at least 1"),
        ({"batch_size": 6, "drop_last": True}, "5 images make no batch of 6"),
        ({"augmentation": ("crp",)}, "unknown augmentation 'crp': did you mean 'crop'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batches(images(5), **options)


def mixed(share: float, x: Tensor, y: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mixup of a batch, image by image."""
    blended, labels = torch.zeros_like(x), torch.zeros(len(y), classes)
    for i in range(len(x)):
        other = len(x) - 1 - i
        blended[i] = share * x[i] + (1 - share) * x[other]
        labels[i, y[i]] += share
        labels[i, y[other]] += 1 - share
    return blended, labels


def test_mixup_blends_each_image_and_its_label_with_another_of_the_batch() -> None:
    options = {"shuffle": True, "augmentation": ("crop", "flip"), "seed": 4}
    source, plain = batches(images(10), mixup=0.4, classes=12, **options), batches(images(10), **options)
    for number in (0, 3):
        found, expected = list(source.epoch(number)), list(plain.epoch(number))
        shares = []
        for (x, y), (plain_x, plain_y) in zip(found, expected, strict=True):
            assert (x.dtype, y.dtype, y.shape) == (torch.float32, torch.float32, (len(x), 12))
            share = float(y[0, plain_y[0]])
            shares.append(share)
            wanted_x, wanted_y = mixed(share, plain_x, plain_y, 12)  # other draws are as without mixup
            torch.testing.assert_close(x, wanted_x)
            torch.testing.assert_close(y, wanted_y)
            torch.testing.assert_close(y.sum(1), torch.ones(len(y)))
        assert all(0 <= share <= 1 for share in shares)
        assert len(set(shares)) == len(shares) == 3  # one draw a batch


def test_mixup_depends_on_seed_and_epoch_only() -> None:
    def draw(number: int, seed: int) -> Tensor:
        return epoch(batches(images(20), mixup=0.4, classes=20, seed=seed), number)[1]

    state = torch.get_rng_state()
    first = draw(2, 7)
    torch.manual_seed(5)
    assert torch.equal(draw(2, 7), first)
    assert not torch.equal(draw(3, 7), first)
    assert not torch.equal(draw(2, 8), first)
    torch.set_rng_state(state)
    draw(2, 7)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_share_of_mixup_is_of_the_beta_distribution() -> None:
    """Its mean is 1/2, its variance 1 / (4 (2 alpha + 1))."""
    for alpha in (0.2, 2.0):
        y = torch.stack([y for _, y in batches(images(4000), batch_size=2, mixup=alpha, classes=4000)])
        shares = torch.stack([y[batch, 0, 2 * batch] for batch in range(2000)])
        assert abs(float(shares.mean()) - 0.5) < 0.04
        assert float(shares.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.12)


@pytest.mark.parametrize(
    ("mixup", "classes"), [(-0.1, 5), (0.2, 0), (float("nan"), 5), (float("inf"), 5), (float("nan"), 0)]
)
def test_wrong_mixup_is_refused(mixup: float, classes: int) -> None:
    with pytest.raises(ValueError, match=rf"mixup={mixup} with classes={classes}: expected 0 or above, and the number"):
        batches(images(5), mixup=mixup, classes=classes)


def test_train_batches_mix_up_the_classes_of_the_data() -> None:
    splits = toy_splits(12, 5, 7)
    for x, y in train_batches(splits, batch_size=4, seed=0, mixup=0.3):
        assert y.shape == (len(x), 12)
    assert all(y.ndim == 1 for _, y in train_batches(splits, batch_size=4, seed=0))


# hashes of what was made before batches knew of devices
EARLIER = [
    ((), 0.0, "f3d1112665fc1cb8"),
    (("crop", "flip"), 0.0, "cb10bb7fb8ed77fd"),
    (("flip", "crop", "cutout"), 0.2, "e879a1562b9b82a3"),
]


@pytest.mark.parametrize(("augmentation", "mixup", "expected"), EARLIER)
def test_batches_on_the_cpu_keep_every_bit(augmentation: tuple[str, ...], mixup: float, expected: str) -> None:
    options = {"augmentation": augmentation, "mixup": mixup, "classes": 10, "shuffle": True, "seed": 5}
    sha = hashlib.sha256()
    for x, y in batches(images(10), **options).epoch(3):
        sha.update(x.contiguous().numpy().tobytes())
        sha.update(y.numpy().tobytes())
    assert sha.hexdigest()[:16] == expected


def test_all_is_done_on_the_device() -> None:
    source = Images(images(10).images, torch.arange(10))
    options = {"augmentation": ("crop", "flip", "cutout"), "mixup": 0.2, "classes": 10, "shuffle": True}
    with FakeTensorMode(allow_non_fake_inputs=True):  # knows of devices that are not there, and refuses to mix them
        made = batches(source, **options).to_device("cuda")
        parts = list(made.epoch(1))
        assert made.to_device("cuda:0") is made
        assert made._resident is made._resident
    assert [len(x) for x, _ in parts] == [4, 4, 2]
    assert {tensor.device for part in parts for tensor in part} == {torch.device("cuda", 0)}


def test_encoded_images_go_to_the_device_batch_by_batch() -> None:
    class Elsewhere:
        labels, shape = torch.arange(5), (16, 12)

        def __len__(self) -> int:
            return 5

        def read(self, chunks: Iterable[Tensor]) -> Iterator[Tensor]:
            yield from images(5).read(chunks)

    with FakeTensorMode(allow_non_fake_inputs=True):
        made = batches(Elsewhere(), augmentation=("crop",), device="cuda")  # type: ignore[arg-type]
        assert {tensor.device for part in made for tensor in part} == {torch.device("cuda", 0)}


def test_images_in_memory_go_to_the_device_once() -> None:
    class Counted(Images):
        copies = 0

        @property
        def images(self) -> Tensor:
            self.copies += 1
            return super().images

    source = Counted(images(10).images, torch.arange(10))
    with FakeTensorMode(allow_non_fake_inputs=True):
        made = batches(source).to_device("cuda")
        for number in range(2):
            list(made.epoch(number))
        assert source.copies == 1
        list(made.to_device("meta"))
        assert source.copies == 2
