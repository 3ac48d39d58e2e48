"""Data sets in parquet files with Hugging Face's layout, on disk or from its hub.

Files are named after their split (train-*.parquet, validation-*.parquet, test-*.parquet). A column ``image`` or ``img``
holds encoded images (bytes, or a struct with a field ``bytes``), a column ``label`` or ``fine_label`` class numbers.
Class names come from the ``huggingface`` metadata of the files' schema, if there are any.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import PIL

from saam._core.files import require_file
from saam.data.cache import downloads_allowed
from saam.data.encoded import decoded_before, load_encoded
from saam.data.image_files import DECODING
from saam.data.images import Images
from saam.data.kept import key_of, read_kept, write_kept
from saam.data.splits import Pools

__all__ = ["load_hub", "load_parquet"]

_VERSION, _KIND = 1, "parquet"  # of what is kept of files that were read
_PARTS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}


def load_parquet(
    path: str | Path,
    *,
    size: int | None = None,
    skip_corrupt: bool = False,
    workers: int = 0,
    label: str | None = None,
) -> Pools:
    """Read a folder of parquet files.

    Args:
        path: The folder.
        size: Side of the square images in pixels; None keeps the size, which must be the same for all. Images of up to
            64 pixels are kept decoded in memory, larger ones encoded.
        skip_corrupt: Whether to leave out images that cannot be decoded.
        workers: Number of processes that decode large images.
        label: Label of the results; None means the folder's name.

    Raises:
        FileNotFoundError: If there is no such folder, or it has no train-*.parquet.
        ValueError: If a file is not parquet, has wrong columns or labels out of range, or an image is corrupt.
    """
    path = Path(path).expanduser()
    files = [(part, file) for prefix, part in _PARTS.items() for file in sorted(path.glob(f"{prefix}-*.parquet"))]
    if not any(part == "train" for part, _ in files):
        deeper = sorted({str(file.parent) for file in path.rglob("train-*.parquet")})
        hint = f"; there are some in {', '.join(deeper)}" if deeper else ""
        raise FileNotFoundError(f"no train-*.parquet in {path}, which is what a parquet data set begins with{hint}")
    contents = [(part, _sha(file)) for part, file in files]
    index = "" if skip_corrupt else key_of(_VERSION, DECODING, size, PIL.__version__, contents)
    if (pools := _read_before(index, label or path.resolve().name)) is not None:
        return pools
    sources: list[bytes] = []
    names: list[str] = []
    labels: list[int] = []
    members: list[str] = []
    classes: list[str] = []
    for part, file in files:
        images, numbers, known = _read(file)
        if known and classes and known != classes:
            raise ValueError(f"{file} names other classes than the files before it; expected the same in all")
        classes = classes or known
        sources += images
        labels += numbers
        names += [f"{file.name} row {row}" for row in range(len(images))]
        members += [part] * len(images)
    count = len(classes) or len({number for number, part in zip(labels, members, strict=True) if part == "train"})
    for number, name in zip(labels, names, strict=True):
        if not 0 <= number < count:
            raise ValueError(
                f"{name} of {path} has the label {number}, expected 0 to {count - 1} for {count} classes; "
                "correct it or leave that row out"
            )
    decoded, kept, left_out = load_encoded(
        sources, names, labels, size=size, skip_corrupt=skip_corrupt, workers=workers
    )
    classes = classes or [str(number) for number in range(count)]
    if index and isinstance(decoded, Images) and decoded.key:
        found = {"pixels": decoded.key, "labels": labels, "members": members, "classes": classes}
        write_kept(_KIND, index, found)
    parts, label = [members[i] for i in kept], label or path.resolve().name
    return Pools.divide(decoded, parts, classes=classes, label=label, left_out=left_out)


def _read_before(index: str, label: str) -> Pools | None:
    """Return the pools of files that were read before, if their decoded images are in the cache folder."""
    found = read_kept(_KIND, index) if index else None
    images = decoded_before(found["pixels"], found["labels"]) if found else None
    if found is None or images is None:
        return None
    return Pools.divide(images, found["members"], classes=found["classes"], label=label)


def _sha(file: Path) -> str:
    """Return the hash of a file; empty if it cannot be read, which is reported when it is read."""
    try:
        require_file(file)
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def load_hub(
    repository: str,
    *,
    root: str | Path | None = None,
    revision: str | None = None,
    folder: str | None = None,
    size: int | None = None,
    skip_corrupt: bool = False,
    workers: int = 0,
    label: str | None = None,
) -> Pools:
    """Download the parquet files of a data set from the Hugging Face hub, and read them.

    Args:
        repository: OWNER/NAME.
        root: Folder for downloads; None uses the hub's own cache.
        revision: Branch, tag or commit; None means the newest.
        folder: Folder of the files in the repository; None means the only one with train-*.parquet.
        size, skip_corrupt, workers: As in :func:`load_parquet`.
        label: Label of the results; None means the repository's name.

    Raises:
        ConnectionError: If the hub cannot be reached or has no such data set.
        FileNotFoundError: If there is no train-*.parquet, or several folders have some and ``folder`` is not given.
        ValueError: As in :func:`load_parquet`.
    """
    from huggingface_hub import snapshot_download

    try:
        snapshot = Path(
            snapshot_download(
                repository,
                repo_type="dataset",
                revision=revision,
                cache_dir=root,
                allow_patterns=["*.parquet"],
                **_where_from(),
            )
        )
    except OSError as error:
        raise ConnectionError(
            f"cannot get the data set {repository}: {str(error).splitlines()[0]}; check the name and the network"
        ) from error
    found = sorted({file.parent for file in snapshot.rglob("train-*.parquet")})
    if folder is None and len(found) > 1:
        choices = ", ".join(repr(str(place.relative_to(snapshot))) for place in found)
        raise FileNotFoundError(f"{repository} has several data sets; choose one with folder= {choices}")
    path = found[0] if folder is None and found else snapshot / (folder or "")
    return load_parquet(path, size=size, skip_corrupt=skip_corrupt, workers=workers, label=label or repository)


def _where_from() -> dict[str, Any]:
    return {} if downloads_allowed() else {"local_files_only": True}


def _read(file: Path) -> tuple[list[bytes], list[int], list[str]]:
    """Return encoded images, labels and class names (empty if unknown) of one file."""
    images: list[bytes] = []
    labels: list[int] = []
    try:
        import pyarrow  # here, for files that were read before need none of it
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("parquet files need pyarrow: pip install 'saam[data]'", name="pyarrow") from error

    require_file(file)
    try:
        with parquet.ParquetFile(file) as opened:
            schema = opened.schema_arrow
            image = _column(file, schema.names, ("image", "img"))
            target = _column(file, schema.names, ("label", "fine_label"))
            for batch in opened.iter_batches(columns=[image, target]):
                cells = _checked(file, image, target, batch)
                images += cells[0].to_pylist()
                labels += cells[1].to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"cannot read {file}: {error}; it is not a complete parquet file, get it again") from error
    return images, labels, _class_names(file, target, schema.metadata or {})


def _class_names(file: Path, target: str, metadata: dict[bytes, bytes]) -> list[str]:
    """Return the class names in the metadata that Hugging Face writes; none if there are none."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        names = list(features.get(target, {}).get("names") or [])
        if not all(isinstance(name, str) for name in names):
            raise TypeError("names of classes must be texts")
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"the metadata 'huggingface' of {file} are damaged ({error}): write the file again, with or without them"
        ) from error
    return names


def _checked(file: Path, image: str, target: str, batch: Any) -> tuple[Any, Any]:
    """Return the columns of encoded images and of class numbers."""
    from pyarrow import compute, types

    images, labels = batch[image], batch[target]
    if types.is_struct(images.type) and images.type.get_field_index("bytes") >= 0:
        images = compute.struct_field(images, "bytes")
    if not (types.is_binary(images.type) or types.is_large_binary(images.type)):
        raise ValueError(
            f"column {image!r} of {file} is {images.type}; expected encoded images (bytes) or structs of them"
        )
    if not types.is_integer(labels.type):
        raise ValueError(f"column {target!r} of {file} is {labels.type}; expected class numbers (integers)")
    for name, column in ((image, images), (target, labels)):
        if column.null_count:
            raise ValueError(
                f"column {name!r} of {file} has {column.null_count} empty cells; fill them or leave them out"
            )
    return images, labels


def _column(file: Path, present: list[str], wanted: tuple[str, str]) -> str:
    for name in wanted:
        if name in present:
            return name
    raise ValueError(f"{file} has the columns {', '.join(present)}; expected one named {wanted[0]} or {wanted[1]}")
