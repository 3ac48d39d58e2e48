"""Data sets by name: one frozen record each, and functions to register and look them up."""

import inspect
import pkgutil
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from saam._core.errors import hinted, no_option
from saam._core.plain import plain_options
from saam.data.cache import no_downloads
from saam.data.splits import Pools, Splits, draw_splits

__all__ = [
    "DataRecord",
    "data_options",
    "data_record",
    "kept_options",
    "list_data",
    "load_data",
    "load_kept_data",
    "register_data",
    "resolve_name",
    "without_place",
]

_KEPT = ("size", "validation", "test", "train", "limit", "skip_corrupt", "workers", "distractors", "digit_size")
_ON_DISK = ("folder", "parquet")  # kinds that are followed by a path
_TEXTS = ("root", "label", "revision", "folder")


@dataclass(frozen=True)
class DataRecord:
    """Description of a data set, or of a kind of data sets."""

    name: str
    """Name for :func:`load_data`; a name that ends in a colon is followed by a place."""
    loader: str | Callable[..., Pools]
    """Function of the place (if the name ends in a colon) and keyword options that returns the pools, or its
    ``module:function``."""
    description: str
    """One line."""
    drawn: tuple[str, ...] = ("validation", "test")
    """The splits that can be drawn from train; for each there is an option of that name for the amount."""
    kept: tuple[str, ...] = (*_KEPT, *_TEXTS)
    """Options that a file may set, such as the plan of a comparison."""


_RECORDS = {
    record.name: record
    for record in (
        DataRecord(
            "photo-digits",
            "saam.data.photo_digits:load_photo_digits",
            "handwritten digits on crops of photographs, 32x32, with masks; made here, no download",
            (),
        ),
        DataRecord("cifar10", "saam.data.vision:load_cifar10", "CIFAR-10, 32x32; downloaded", ("validation",)),
        DataRecord("cifar100", "saam.data.vision:load_cifar100", "CIFAR-100, 32x32; downloaded", ("validation",)),
        DataRecord(
            "fashion-mnist",
            "saam.data.vision:load_fashion_mnist",
            "Fashion-MNIST, 28x28; downloaded",
            ("validation",),
        ),
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


def register_data(
    name: str,
    loader: Callable[..., Pools],
    *,
    description: str = "",
    drawn: Collection[str] = ("validation", "test"),
    kept: Collection[str] = (),
) -> None:
    """Register a data set for :func:`load_data`, ``saam list data`` and comparisons, in the current process.

    The workers of a comparison are separate processes, which import the script that started them. Therefore call this
    at the top level of the script or of a module that it imports, not under ``if __name__ == "__main__"``.

    Args:
        name: Letters, digits, ``_``, ``.`` and ``-``. A name that ends in a colon is followed by a place, as in
            ``zip:PATH``.
        loader: Function that returns the pools. It takes keyword options, whose annotations are used to check their
            types, preceded by the place if the name ends in a colon. An option ``seed`` receives the seed of the
            splits.
        description: One line; if empty, the first line of the loader's docstring.
        drawn: Which of validation and test can be drawn from train. Leave out those that the loader always returns.
        kept: Options of the loader that a comparison may set. Its plan is a file, which a stranger may have written, so
            list only options that are harmless for any number, word or list; ``root``, ``label``, ``revision`` and
            ``folder`` may be any text. ``size``, ``validation``, ``test``, ``limit`` and ``seed`` are always included.

    Raises:
        ValueError: If the name is taken or has other characters, or ``drawn`` is invalid.

    Example:
        >>> register_data("nothing", lambda: None)
        Traceback (most recent call last):
        ...
        ValueError: data set 'nothing' needs a description: give one, or a docstring to its loader
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*:?", name):
        raise ValueError(f"expected letters, digits, '_', '.', '-' and a colon at the end or none, got {name!r}")
    if name.rstrip(":") in {known.rstrip(":") for known in _RECORDS}:
        raise ValueError(f"data set {name!r} is registered already; choose another name")
    if not set(drawn) <= {"validation", "test"}:
        raise ValueError(f"drawn={drawn!r}: expected 'validation', 'test', both or none")
    line = description or (inspect.getdoc(loader) or "").partition("\n")[0]
    if not line:
        raise ValueError(f"data set {name!r} needs a description: give one, or a docstring to its loader")
    _RECORDS[name] = DataRecord(name, loader, line, tuple(drawn), ("size", "validation", "test", "limit", *kept))


def list_data() -> list[str]:
    """Return the known names; a name that ends in a colon is followed by a place.

    Example:
        >>> "photo-digits" in list_data()
        True
    """
    return list(_RECORDS)


def data_record(name: str) -> DataRecord:
    """Return the record of a data set, such as ``photo-digits`` or ``folder:pictures``.

    Raises:
        ValueError: If there is no such name; the message suggests similar names.
    """
    kind, colon, _ = name.partition(":")
    if kind + colon not in _RECORDS:
        lead = f"there is neither a folder {name!r} here nor a data set of that name"
        raise ValueError(hinted(lead, name, _RECORDS))
    return _RECORDS[kind + colon]


def data_options(name: str) -> dict[str, Any]:
    """Return the options of a data set and their defaults; ``inspect.Parameter.empty`` for required options.

    Raises:
        ValueError: If there is no such name.
        ModuleNotFoundError: If the data set needs a package that is not installed.

    Example:
        >>> data_options("folder:")["validation"]
        0.1
    """
    record = data_record(name)
    own, shared = _parameters(record, _loader(record))
    found = {option: parameter.default for option, parameter in (shared | own).items()}
    return {option: found.pop(option) for option in _FIRST if option in found} | found


_FIRST = ("root", "size", "validation", "test", "seed", "limit")  # options that come first in lists


def resolve_name(name: str) -> str:
    """Return a name that means the same data from any directory: for an existing folder its kind and absolute path.

    Other names are returned unchanged.

    Example:
        >>> resolve_name("photo-digits")
        'photo-digits'
        >>> resolve_name("folder:/usr/..")
        'folder:/'
    """
    kind, colon, place = name.partition(":")
    if kind + colon not in _RECORDS:  # the name has no kind
        kind, place = "", name
    folder = Path(place).expanduser()
    if not place or kind not in ("", *_ON_DISK) or not folder.is_dir():
        return name
    return f"{kind or ('parquet' if any(folder.glob('*.parquet')) else 'folder')}:{folder.resolve()}"


def without_place(name: str) -> str:
    """Return a name without the location of its files; the fingerprint says which data they are.

    Example:
        >>> without_place("folder:/home/me/pets"), without_place("hub:uoft-cs/cifar10")
        ('folder:', 'hub:uoft-cs/cifar10')
    """
    kind, colon, _ = name.partition(":")
    return kind + colon if kind in _ON_DISK else name


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
        name: See :func:`list_data`; or the path of an existing folder of images or of parquet files.
        root: Folder of the files; None uses the default.
        size: Height and width in pixels; None keeps the data set's own.
        seed: Seed of the splits, and of generated data.
        limit: Largest number of images in each split; None keeps all.
        options: Options of the data set, such as ``distractors=4`` or ``label="pets"`` (see :func:`data_options`). If
            it has no validation or test images, also ``validation`` and ``test``: the share (below 1) or number of
            training images to draw for them.

    Raises:
        ValueError: If there is no such name, or an option is out of range.
        TypeError: If the data set has no such option, or the option has the wrong type.
        FileNotFoundError: If there is nothing at that place.
        ModuleNotFoundError: If the data set needs a package that is not installed.
    """
    name = resolve_name(name)
    record = data_record(name)
    place = name.partition(":")[2]
    if record.name.endswith(":") and not place:
        raise ValueError(f"{name!r} names no place; expected {record.description}")
    loader = _loader(record)
    options |= {key: value for key, value in (("root", root), ("size", size), ("limit", limit)) if value is not None}
    options["seed"] = seed
    own, shared = _parameters(record, loader)
    for option, value in options.items():
        if option not in own | shared:
            known = data_options(record.name)
            raise no_option(f"data set {record.name!r}", option, known, spelled(known))
        _check_type(option, value, (shared | own)[option].annotation)
    if not 0 <= seed < 2**63:
        raise ValueError(f"data: seed must be 0 or above, and below 2**63, got {seed}")
    pools = loader(*[place] if place else [], **{key: value for key, value in options.items() if key in own})
    if not isinstance(pools, Pools):
        raise TypeError(f"the loader of data set {record.name!r} must return saam.data.Pools, got {pools!r:.80}")
    shares: dict[str, Any] = dict.fromkeys({"validation", "test"} - set(record.drawn), 0)  # the loader returns these
    return draw_splits(pools, name=name, **shares, **{key: value for key, value in options.items() if key in shared})


def spelled(options: Mapping[str, Any]) -> str:
    """Return options as text, ``name=default`` separated by commas; only the name if there is no default."""
    return ", ".join(
        option if value in (None, inspect.Parameter.empty) else f"{option}={_literal(value)}"
        for option, value in options.items()
    )


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")


def _loader(record: DataRecord) -> Callable[..., Pools]:
    if not isinstance(record.loader, str):
        return record.loader
    try:
        return pkgutil.resolve_name(record.loader)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{record.name} data need {error.name}: pip install 'saam[data]'", name=error.name
        ) from error


_Parameters = dict[str, inspect.Parameter]


def _parameters(record: DataRecord, loader: Callable[..., Pools]) -> tuple[_Parameters, _Parameters]:
    """Return the options of the loader, and those of drawing the splits; ``seed`` may be both."""
    own, shared = _keywords(loader), _keywords(draw_splits)
    if record.name.endswith(":"):
        own.pop(next(iter(inspect.signature(loader).parameters), ""), None)  # the place
    unwanted = {"name", *({"validation", "test"} - set(record.drawn)), *(set(own) - {"seed", "limit"})}
    return own, {option: parameter for option, parameter in shared.items() if option not in unwanted}


def _keywords(function: Callable[..., Any]) -> _Parameters:
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    kinds = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    return {parameter.name: parameter for parameter in parameters if parameter.kind in kinds}


_MOST_IMAGES = 2_000_000
_MOST_BYTES = 2**33  # of the images that photo-digits makes
_BOUNDS = {"size": 4096, "workers": 64, "distractors": 100}


def load_kept_data(name: str, **options: Any) -> Splits:
    """Load data named in a file, such as the plan of a comparison, which may come from a stranger.

    The data must be on this machine: nothing is downloaded, and generated data go to the user's cache folder.

    Raises:
        ValueError: If a file may not set one of the options, and everything that :func:`load_data` raises.
        FileNotFoundError: If the data are not on this machine.
    """
    options = kept_options(name, options)
    with no_downloads():
        return load_data(name, **options)


def kept_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of data named in a file: plain values of bounded size, except for place and label.

    Generated data have no place: they go to the user's cache folder.

    Raises:
        ValueError: If a file may not set one of the options.
    """
    kind, colon, _ = name.partition(":")
    allowed = _RECORDS[kind + colon].kept if kind + colon in _RECORDS else (*_KEPT, *_TEXTS)
    plain = {key: value for key, value in options.items() if key != "seed" and not (key in _TEXTS and key in allowed)}
    plain_options(f"the data {name!r:.80}", plain, allowed, largest=_MOST_IMAGES)
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


_TYPES = {int: "a whole number", float: "a number", bool: "true or false", Sequence: "a tuple", str: "a text"}


def _check_type(option: str, value: Any, annotation: Any) -> None:
    """Refuse values that do not match the loader's annotation."""
    kinds = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = tuple(get_origin(kind) or kind for kind in kinds)
    if annotation is inspect.Parameter.empty or not all(isinstance(kind, type) for kind in kinds):
        return  # no annotation, or one that this check does not support
    accepted = (*kinds, int) if float in kinds else kinds
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(_TYPES[kind] for kind in kinds if kind in _TYPES)
        raise TypeError(f"data: {option} must be {expected}, got {value!r}")
