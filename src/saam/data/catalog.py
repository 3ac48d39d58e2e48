"""Data sets by name: one frozen record for each, and the functions that look them up."""

import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from saam._errors import nearest
from saam._plain import plain_options
from saam.data.cache import no_downloads
from saam.data.splits import Splits, limit_splits

__all__ = [
    "DataRecord",
    "data_record",
    "kept_options",
    "list_data",
    "load_data",
    "load_kept_data",
    "resolve_name",
]


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
        DataRecord(
            "folder:",
            "saam.data.folder:load_folder",
            "folder:PATH, images in one subfolder for each class; a tenth each is drawn for validation and test "
            "unless the options validation= and test= say how much; size=224 resizes",
        ),
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
        raise ValueError(
            f"there is neither a folder {name!r} here nor a data set of that name: {nearest(name, _RECORDS)}"
            f"known: {', '.join(_RECORDS)}"
        )
    return _RECORDS[kind + colon]


def resolve_name(name: str) -> str:
    """Return the name that means the same data from any directory: a folder that is there with kind and whole path.

    Names of data sets, and whatever is neither a data set nor a folder, come back as they are.

    Example:
        >>> resolve_name("photo-digits")
        'photo-digits'
        >>> resolve_name("folder:/usr/..")
        'folder:/'
    """
    kind, colon, place = name.partition(":")
    if kind + colon not in _RECORDS:  # no kind is given
        kind, place = "", name
    folder = Path(place).expanduser()
    if not place or kind not in ("", "folder", "parquet") or not folder.is_dir():
        return name
    return f"{kind or ('parquet' if any(folder.glob('*.parquet')) else 'folder')}:{folder.resolve()}"


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
        TypeError: an option that this data set does not have, or one of the wrong type.
        FileNotFoundError: nothing at that place.
        ModuleNotFoundError: the data set needs a package that is not installed.
    """
    name = resolve_name(name)
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
    parameters = inspect.signature(loader).parameters.values()
    known = {value.name: value.annotation for value in parameters if value.kind is value.KEYWORD_ONLY}
    for option, value in options.items():
        if option not in known:
            hint = f"{nearest(option, known)}it takes {', '.join(known)}"
            raise TypeError(f"data set {record.name!r} has no option {option!r}: {hint}")
        _check_type(option, value, known[option])
    _check_type("limit", limit, int | None)
    if not 0 <= seed < 2**63:
        raise ValueError(f"data: seed must be 0 or above, and below 2**63, got {seed}")
    splits: Splits = loader(*[place] if place else [], **options)
    return splits if limit is None else limit_splits(splits, limit, seed=seed)


_KEPT = ("size", "validation", "test", "train", "limit", "skip_corrupt", "workers", "distractors", "digit_size")
_MOST_IMAGES = 2_000_000
_MOST_BYTES = 2**33  # of the images that photo-digits makes
_BOUNDS = {"size": 4096, "workers": 64, "distractors": 100}


def load_kept_data(name: str, **options: Any) -> Splits:
    """Load data that a file names, such as the plan of a comparison, which may come from a stranger.

    They come from this machine: nothing is downloaded, and a generated data set goes to the user's cache folder.

    Raises:
        ValueError: an option that is not taken from a file, and all that :func:`load_data` raises.
        FileNotFoundError: they are not on this machine.
    """
    options = kept_options(name, options)
    with no_downloads():
        return load_data(name, **options)


def kept_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of data that a file names: plain values of a bounded size, their place and label apart.

    What is generated takes no place: it goes to the user's cache folder.

    Raises:
        ValueError: an option that is not taken from a file.
    """
    plain = {key: value for key, value in options.items() if key not in ("seed", *_TEXTS)}
    plain_options(f"the data {name!r:.80}", plain, _KEPT, largest=_MOST_IMAGES)
    for option in _TEXTS:
        if not isinstance(options.get(option, ""), str) or len(options.get(option, "")) > 1000:
            raise ValueError(f"the option {option!r} of the data {name!r:.80} must be a text")
    for option, most in _BOUNDS.items():
        if isinstance(value := options.get(option), int | float) and value > most:
            raise ValueError(f"the option {option!r} of the data {name!r:.80} may be {most} at most, got {value}")
    if name == "photo-digits":
        counts = [
            options.get(part, usual) for part, usual in (("train", 15_000), ("validation", 1000), ("test", 10_000))
        ]
        size = options.get("size", 32)
        if all(isinstance(number, int) for number in (*counts, size)) and 4 * size**2 * sum(counts) > _MOST_BYTES:
            raise ValueError(f"{sum(counts):,} images of {size} x {size} pixels are more than a file may ask for")
    return {key: value for key, value in options.items() if not (name == "photo-digits" and key == "root")}


_TEXTS = ("root", "label", "revision", "folder")
_TYPES = {int: "a whole number", float: "a number", bool: "true or false", Sequence: "a tuple", str: "a text"}


def _check_type(option: str, value: Any, annotation: Any) -> None:
    """Refuse what a loader's annotation does not allow, before the loader stumbles over it."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    kinds = tuple(get_origin(kind) or kind for kind in kinds)
    accepted = (*kinds, int) if float in kinds else kinds
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(_TYPES[kind] for kind in kinds if kind in _TYPES)
        raise TypeError(f"data: {option} must be {expected}, got {value!r}")
