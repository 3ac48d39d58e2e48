"""CIFAR-10, CIFAR-100 and Fashion-MNIST: read from disk, or downloaded by torchvision.

CIFAR: A. Krizhevsky, "Learning multiple layers of features from tiny images" (2009). Fashion-MNIST: Xiao, Rasul and
Vollgraf, arXiv 1708.07747.
"""

import gzip
import os
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import datasets

from saam.data.cache import cache_folder, downloads_allowed
from saam.data.images import Images
from saam.data.splits import Pools

__all__ = ["load_cifar10", "load_cifar100", "load_fashion_mnist"]

_SYSTEM = Path("/usr/share/datasets")  # folder of Debian's package dataset-fashion-mnist


def load_cifar10(*, root: str | Path | None = None, size: int | None = None) -> Pools:
    """Read CIFAR-10: 60,000 photographs in 10 classes, 32x32, 10,000 of them for test.

    Args:
        root: Folder that contains, or will contain, ``cifar-10-batches-py``; None means the user's cache folder.
        size: Pixels to resize to, at most 64; None does not resize.

    Raises:
        ConnectionError: If the download failed.
        ValueError: If the files are damaged, or an option is out of range.
    """
    return _pools("CIFAR-10", *_cifar(datasets.CIFAR10, root), size)


def load_cifar100(*, root: str | Path | None = None, size: int | None = None) -> Pools:
    """Read CIFAR-100: like CIFAR-10, with 100 classes, in ``cifar-100-python``; see :func:`load_cifar10`."""
    return _pools("CIFAR-100", *_cifar(datasets.CIFAR100, root), size)


def load_fashion_mnist(*, root: str | Path | None = None, size: int | None = None) -> Pools:
    """Read Fashion-MNIST: 70,000 grey pictures of clothes in 10 classes, 28x28, 10,000 of them for test.

    Args:
        root: Folder that contains, or will contain, the four ``idx`` files (``.gz`` or not), directly or in
            ``fashion-mnist`` or ``FashionMNIST/raw``. None means /usr/share/datasets if they are there, otherwise the
            cache folder.
        size: As in :func:`load_cifar10`.

    Raises:
        ConnectionError: If the download failed.
        ValueError: If the files are damaged, or an option is out of range.
    """
    folder = _find_idx([Path(root)] if root else [cache_folder(), _SYSTEM])
    if folder is None:
        base = Path(root or cache_folder()).expanduser()
        _download(datasets.FashionMNIST, base, "FashionMNIST")
        folder = base / "FashionMNIST" / "raw"
    train, test = (
        (
            _read_idx(folder / f"{part}-images-idx3-ubyte", dimensions=3)[:, None].expand(-1, 3, -1, -1),
            _read_idx(folder / f"{part}-labels-idx1-ubyte", dimensions=1).long(),
            datasets.FashionMNIST.classes,
        )
        for part in ("train", "t10k")
    )
    return _pools("Fashion-MNIST", train, test, size)


_Part = tuple[Tensor, Tensor, list[str]]  # images (N, 3, H, W), labels (N,), class names


def _pools(label: str, train: _Part, test: _Part, size: int | None) -> Pools:
    pool, tested = (Images(_resize(images, size), labels) for images, labels, _ in (train, test))
    return Pools(train=pool, test=tested, classes=train[2], label=label)


def _resize(images: Tensor, size: int | None) -> Tensor:
    if size is None:
        return images
    if not 1 <= size <= 64:
        raise ValueError(f"size={size}: expected 1 to 64 pixels, since all images are held in memory")
    parts = (
        F.interpolate(part.float(), size=(size, size), mode="bilinear", antialias=True).round().byte()
        for part in torch.split(images, 1024)
    )
    return torch.cat(list(parts))


def _cifar(kind: Any, root: str | Path | None) -> tuple[_Part, _Part]:
    folder = Path(root or cache_folder()).expanduser()
    _download(kind, folder, kind.base_folder)
    try:
        parts = [kind(folder, train=train) for train in (True, False)]
    except RuntimeError as error:
        raise ValueError(f"{folder / kind.base_folder} is damaged; delete it, and it is downloaded again") from error
    train, test = (
        (torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(part.targets), part.classes)
        for part in parts
    )
    return train, test


def _download(kind: Any, root: Path, folder: str) -> None:
    """Download with torchvision into ``root/folder`` unless it exists; the folder is never incomplete."""
    if (root / folder).is_dir():
        return
    if not downloads_allowed():
        raise FileNotFoundError(f"{kind.__name__} is not in {root / folder}, and a file does not make saam download it")
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as staging:
        try:
            kind(staging, download=True)
        except (OSError, RuntimeError) as error:
            raise ConnectionError(
                f"cannot download {kind.__name__}: {error}; check the network, or put {folder} into {root}"
            ) from error
        try:
            os.replace(Path(staging) / folder, root / folder)
        except OSError:
            if not (root / folder).is_dir():  # otherwise another process was first
                raise


def _find_idx(roots: list[Path]) -> Path | None:
    """Return the first folder that has the first of the four files."""
    for root in roots:
        for folder in (root, root / "fashion-mnist", root / "FashionMNIST" / "raw"):
            if list(folder.expanduser().glob("train-images-idx3-ubyte*")):
                return folder.expanduser()
    return None


def _read_idx(file: Path, *, dimensions: int) -> Tensor:
    """Read one file in the idx format of MNIST: two zeros, 8 (bytes), the dimensions, their sizes, the values."""
    packed = file.with_name(f"{file.name}.gz")
    try:
        content = file.read_bytes() if file.exists() else gzip.decompress(packed.read_bytes())
        if content[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError("not an idx file of bytes")
        shape = np.frombuffer(content, ">i4", dimensions, 4)
        values = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{file} (or .gz) is damaged or missing: {error}; get it again") from error
    return torch.from_numpy(values.copy())
