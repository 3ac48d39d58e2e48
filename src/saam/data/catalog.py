"""Data sets by name: one frozen record for each, and the functions that look them up."""

import inspect
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saam._errors import nearest, unknown
from saam.data.splits import Splits, limit_splits

__all__ = ["DataRecord", "data_record", "list_data", "load_data"]


@dataclass(frozen=True)
class DataRecord:
    """What saam knows of one data set, or of one kind of them."""

    name: str
    """As :func:`load_data` takes it; a name that ends in a colon goes on with a place."""
    loader: str
    """``module:function``, imported when it is asked for."""
    description: str
    """One line."""


_RECORDS = {
    record.name: record
    for record in (
        DataRecord(
            "photo-digits",
            "saam.data.photo_digits:load_photo_digits",
            "handwritten digits on crops of photographs, 32x32, with masks; made here, no download",
        ),
        DataRecord("cifar10", "saam.data.vision:load_cifar10", "CIFAR-10, 32x32; downloaded"),
        DataRecord("cifar100", "saam.data.vision:load_cifar100", "CIFAR-100, 32x32; downloaded"),
        DataRecord("fashion-mnist", "saam.data.vision:load_fashion_mnist", "Fashion-MNIST, 28x28; downloaded"),
        DataRecord("folder:", "saam.data.folder:load_folder", "folder:PATH, images in one subfolder for each class"),
        DataRecord("parquet:", "saam.data.parquet:load_parquet", "parquet:PATH, a Hugging Face data set on disk"),
        DataRecord("hub:", "saam.data.parquet:load_hub", "hub:OWNER/NAME, a Hugging Face data set; downloaded"),
    )
}


def list_data() -> list[str]:
    """Return the known names; one that ends in a colon goes on with a place.

    Example:
        >>> "photo-digits" in list_data()
        True
    """
    return list(_RECORDS)


def data_record(name: str) -> DataRecord:
    """Return the record of a data set, as in ``photo-digits`` or ``folder:pictures``.

    Raises:
        ValueError: no such name; the message has the nearest ones.
    """
    kind, colon, _ = name.partition(":")
    if kind + colon not in _RECORDS:
        raise unknown("data set", name, _RECORDS)
    return _RECORDS[kind + colon]


def load_data(
    name: str,
    *,
    root: str | Path | None = None,
    size: int | None = None,
    seed: int = 0,
    limit: int | None = None,
    **options: Any,
) -> Splits:
    """Load a data set.

    Args:
        name: see :func:`list_data`; or the path of an existing folder, of images or of parquet files.
        root: where files are kept or looked for; None: the usual place.
        size: height and width in pixels; None: the data set's own.
        seed: of the division into splits, and of what is generated.
        limit: at most so many images in each split; None: all.
        options: the data set's own, such as ``distractors=4`` or ``label="pets"``.

    Raises:
        ValueError: no such name, or an option out of its range.
        TypeError: an option that this data set does not have.
        FileNotFoundError: nothing at that place.
        ModuleNotFoundError: the data set needs a package that is not installed.
    """
    if ":" not in name and name not in _RECORDS and (folder := Path(name).expanduser()).is_dir():
        name = f"{'parquet' if any(folder.glob('*.parquet')) else 'folder'}:{name}"
    record = data_record(name)
    place = name.partition(":")[2]
    if record.name.endswith(":") and not place:
        raise ValueError(f"{name!r} names no place; expected {record.description}")
    try:
        loader = pkgutil.resolve_name(record.loader)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{record.name} data need {error.name}: pip install 'saam[data]'", name=error.name
        ) from error
    given = {"root": root, "size": size, "seed": seed}
    options |= {key: value for key, value in given.items() if value is not None}
    known = [key for key, value in inspect.signature(loader).parameters.items() if value.kind is value.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            hint = f"{nearest(option, known)}it takes {', '.join(known)}"
            raise TypeError(f"data set {record.name!r} has no option {option!r}: {hint}")
    splits: Splits = loader(*[place] if place else [], **options)
    return splits if limit is None else limit_splits(splits, limit, seed=seed)
