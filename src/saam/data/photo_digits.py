"""photo-digits: small handwritten digits on crops of photographs. Always available, with a mask for every digit.

Each image is a crop of one of scikit-learn's two sample photographs. On it are fragments of digits as distractors, then
one whole digit of scikit-learn's set (E. Alpaydin and C. Kaynak, 1998), resized from 8x8, at a random place and in a
random colour. The class of the image is that of the digit. The colour's brightness differs by at least ``CONTRAST``
from the mean of the covered pixels. Train, validation and test have disjoint digits, including distractors. Train and
validation use crops from the left halves of the photographs, test from the right halves. The computation uses whole
numbers, so the result is the same on every machine that decodes the two photographs alike.
"""

import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits, load_sample_images

from saam.data.cache import cache_folder
from saam.data.images import Images
from saam.data.splits import Pools

__all__ = ["CONTRAST", "load_photo_digits"]

CONTRAST = 64
"""Smallest difference in brightness (0..255) between a digit and the mean of the covered pixels."""

_VERSION = 1  # of the generator: increase it when pixels change, so that old cache files are not used
_CHUNK = 1000  # images per chunk
_KEPT = ("images", "labels", "masks")
_CLASSES = [str(digit) for digit in range(10)]

Bytes = NDArray[np.uint8]
Whole = NDArray[np.int64]
Arrays = NDArray[np.generic]


def load_photo_digits(
    *,
    train: int = 15_000,
    validation: int = 1_000,
    test: int = 10_000,
    size: int = 32,
    digit_size: Sequence[int] = (12, 19),
    distractors: int = 2,
    seed: int = 0,
    root: str | Path | None = None,
) -> Pools:
    """Generate the data set, or read it from the cache.

    Args:
        train, validation, test: Number of images.
        size: Height and width of the images in pixels.
        digit_size: Smallest and largest height and width of a digit in pixels.
        distractors: Number of fragments in each image; each is two thirds of the smallest digit wide.
        seed: Seed of the division of the digits among the splits and of all draws.
        root: Folder of the cache file; None means the user's cache folder.

    Returns:
        Pools of images with masks, which are true exactly where the digit's ink changed the image.

    Raises:
        ValueError: If an option is out of range.
        OSError: If the cache file cannot be written.
    """
    if len(digit_size) != 2 or not all(isinstance(value, int) for value in digit_size):
        raise ValueError(f"digit_size={digit_size!r}: expected two whole numbers, as in digit_size=(12, 19)")
    low, high = digit_size
    if not 8 <= low <= high <= size <= 256:
        raise ValueError(
            f"size={size}, digit_size={(low, high)}: expected 8 <= smallest <= largest digit <= size <= 256"
        )
    counts = {"train": train, "validation": validation, "test": test}
    if min(counts.values()) < 1 or distractors < 0 or seed < 0:
        raise ValueError(
            f"{counts}, distractors={distractors}, seed={seed}: expected images in each split, the rest 0 or more"
        )
    config = {"size": size, "digit_size": (low, high), "distractors": distractors, "seed": seed}
    key = hashlib.sha256(json.dumps([_VERSION, counts, config]).encode()).hexdigest()[:16]
    file = Path(root or cache_folder()).expanduser() / f"photo-digits-{key}.npz"
    arrays = _read(file, counts)
    if arrays is None:
        made = {
            part: _generate(part, count, size=size, digit_size=(low, high), distractors=distractors, seed=seed)
            for part, count in counts.items()
        }
        arrays = {f"{part}/{name}": made[part][name] for part in counts for name in _KEPT}
        _write(file, arrays)
    pools = {
        part: Images(
            torch.from_numpy(arrays[f"{part}/images"]),
            torch.from_numpy(arrays[f"{part}/labels"]),
            torch.from_numpy(np.unpackbits(arrays[f"{part}/masks"].view(np.uint8), axis=2, count=size)).bool(),
        )
        for part in counts
    }
    train_pool, validation_pool, test_pool = pools.values()
    return Pools(train=train_pool, validation=validation_pool, test=test_pool, classes=_CLASSES, augmentation=("crop",))


def _generate(
    part: str, count: int, *, size: int, digit_size: tuple[int, int], distractors: int, seed: int
) -> dict[str, Arrays]:
    """Generate one split.

    Returns:
        Images (N, 3, S, S), labels (N,), masks (N, S, S / 8) as bits, and their sources: digits (N, 1 + D) in
        scikit-learn's set, the shown one first, and corners (N, 3): photograph, row and column.
    """
    known = load_digits()
    digits, (photos, first_column) = _digits_of(part, seed), _photos_of(part)
    bank = np.stack([_resize(known.images[digits], s, digit_size[1]) for s in range(digit_size[0], digit_size[1] + 1)])
    rng = np.random.default_rng([seed, ("train", "validation", "test").index(part)])
    chunks = []
    for start in range(0, count, _CHUNK):
        n = min(_CHUNK, count - start)
        corners = np.stack([rng.integers(0, limit - size + 1, n) for limit in (size + 1, *photos.shape[1:3])], axis=1)
        canvas = np.zeros((n, size + digit_size[1], size + digit_size[1], 3), np.uint8)
        canvas[:, :size, :size] = photos[corners[:, 0, None, None], *_window(corners[:, 1], corners[:, 2], size)]
        shown = rng.integers(0, len(digits), n)
        others = (shown[:, None] + rng.integers(1, len(digits), (n, distractors))) % len(digits)
        for other in others.T:
            _paste_at_random(rng, canvas, *_fragments(rng, bank, other, digit_size[0]), size)
        scales = rng.integers(0, len(bank), n)
        ink = bank[scales, shown]
        tops, lefts = _paste_at_random(rng, canvas, ink, digit_size[0] + scales, size)
        masks = np.zeros(canvas.shape[:3], np.bool_)
        masks[np.arange(n)[:, None, None], *_window(tops, lefts, digit_size[1])] = ink > 0
        chunks.append(
            {
                "images": canvas[:, :size, :size].transpose(0, 3, 1, 2),
                "labels": known.target[digits[shown]].astype(np.int64),
                "masks": np.packbits(masks[:, :size, :size], axis=2),
                "digits": digits[np.column_stack([shown, others])],
                "corners": corners + np.array([0, 0, first_column]),
            }
        )
    return {name: np.ascontiguousarray(np.concatenate([chunk[name] for chunk in chunks])) for name in chunks[0]}


def _digits_of(part: str, seed: int) -> Whole:
    """Return indices of a split's digits in scikit-learn's set: 60 % train, 10 % validation, 30 % test."""
    order = np.random.default_rng([seed, 3]).permutation(1797)
    return {"train": order[:1078], "validation": order[1078:1258], "test": order[1258:]}[part]


def _photos_of(part: str) -> tuple[Bytes, int]:
    """Return the half photographs (2, 427, 320, 3) of a split, and their first column."""
    photos = np.stack(load_sample_images().images)
    middle = photos.shape[2] // 2
    return (photos[:, :, middle:], middle) if part == "test" else (photos[:, :, :middle], 0)


def _resize(digits: NDArray[np.float64], size: int, padded: int) -> Bytes:
    """Return ink (0..255) of digits (K, 8, 8), resized bilinearly, sharpened and zero-padded: (K, P, P)."""
    numerators = np.clip(8 * (2 * np.arange(size) + 1) - size, 0, 14 * size)  # source coordinates, times 2 size
    weights = np.maximum(0, 2 * size - np.abs(numerators[:, None] - 2 * size * np.arange(8)))  # (size, 8)
    ink = (weights @ digits @ weights.T).astype(np.int64)  # 0..16, times 4 size^2: whole numbers, exact in float64
    unit = 4 * size * size
    sharp = np.clip((ink - 5 * unit) * 255 // (6 * unit), 0, 255)  # nothing up to 5 of 16, full ink from 11 on
    return np.pad(sharp.astype(np.uint8), ((0, 0), *[(0, padded - size)] * 2))


def _fragments(rng: np.random.Generator, bank: Bytes, digits: Whole, smallest: int) -> tuple[Bytes, Whole]:
    """Return a square of each digit (n,) at a random scale: ink (n, F, F) and sizes (n,)."""
    side, scales = smallest * 2 // 3, rng.integers(0, len(bank), len(digits))
    tops, lefts = rng.integers(0, (smallest + scales - side + 1)[:, None], (len(digits), 2)).T
    ink = bank[scales[:, None, None], digits[:, None, None], *_window(tops, lefts, side)]
    return ink, np.full(len(digits), side)


def _paste_at_random(
    rng: np.random.Generator, canvas: Bytes, ink: Bytes, sizes: Whole, limit: int
) -> tuple[Whole, Whole]:
    """Paste ink of these sizes (n,) into the canvas's first ``limit`` rows and columns; return tops, lefts."""
    tops, lefts = rng.integers(0, (limit - sizes + 1)[:, None], (len(ink), 2)).T
    colours = np.concatenate(
        [rng.integers(0, 256, (len(ink), 6, 3)), np.tile([[[0] * 3, [255] * 3]], (len(ink), 1, 1))], axis=1
    )
    _paste(canvas, ink, tops, lefts, colours)
    return tops, lefts


def _paste(canvas: Bytes, ink: Bytes, tops: Whole, lefts: Whole, colours: Whole) -> None:
    """Blend ink (n, h, h) into the canvas (n, H, W, 3), each in its first colour (n, K, 3) with enough contrast."""
    images = np.arange(len(ink))
    where = (images[:, None, None], *_window(tops, lefts, ink.shape[1]))
    under, inked = canvas[where], ink > 0
    covered = (_brightness(under) * inked).sum(axis=(1, 2)) // np.maximum(1, inked.sum(axis=(1, 2)))
    chosen = (np.abs(_brightness(colours) - covered[:, None]) >= CONTRAST).argmax(axis=1)
    colour = colours[images, chosen][:, None, None].astype(np.uint16)
    share = ink[..., None].astype(np.uint16)
    canvas[where] = (under * (255 - share) + colour * share + 127) // 255


def _window(tops: Whole, lefts: Whole, side: int) -> tuple[Whole, Whole]:
    """Return row and column indices of squares: (n, side, 1) and (n, 1, side)."""
    span = np.arange(side)
    return tops[:, None, None] + span[:, None], lefts[:, None, None] + span


def _brightness(colours: NDArray[np.integer]) -> Whole:
    """Return the weighted mean of red, green and blue (..., 3), 0..255."""
    red, green, blue = np.moveaxis(colours.astype(np.int32), -1, 0)
    return (77 * red + 150 * green + 29 * blue) // 256


def _read(file: Path, counts: dict[str, int]) -> dict[str, Arrays] | None:
    """Return the arrays of a cache file; None if it does not exist or is damaged (the format has checksums)."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            return {f"{part}/{name}": stored[f"{part}/{name}"] for part in counts for name in _KEPT}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def _write(file: Path, arrays: dict[str, Any]) -> None:
    """Write the cache file to a temporary name and move it into place, so that no reader sees a partial file."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".photo-digits-") as folder:
            np.savez(Path(folder) / file.name, **arrays)
            os.replace(Path(folder) / file.name, file)
    except OSError as error:
        raise OSError(f"cannot write {file}: {error}; set SAAM_CACHE to a folder that is writable") from error
