"""Data sets in the user's own files: a folder of images with one subfolder per class.

PATH/CLASS/*.png                  one pool: validation and test are drawn from it, all classes in proportion
PATH/{train,val,test}/CLASS/*.png splits as they are; a missing one is drawn from train

By default a tenth of the images is drawn for validation and a tenth for test; ``validation=`` and ``test=`` change
this. Further options are size, seed, skip_corrupt, workers and label, as in
``pets,size=224,test=0.2,skip_corrupt=true``.
"""

from pathlib import Path

from saam.data.encoded import load_encoded
from saam.data.image_files import find_images
from saam.data.splits import Pools

__all__ = ["load_folder"]

_LIKE_SPLITS = {
    *("train", "training", "trainset", "train_set", "trn", "test", "testing", "testset", "test_set", "tst"),
    *("val", "valid", "validation", "validate", "dev", "eval", "evaluation", "holdout", "unlabeled", "unlabelled"),
}
_PLAN = "plan.json"  # file of a comparison
_OWN = (_PLAN, "study.json", "page.json", "model.safetensors", "state.pt", "curves.json")  # files in result folders
_OUTPUT = "saam-"  # prefix of the default result folders
_OF_MACS = "__MACOSX"  # folder that macOS adds to its archives
_PARTS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


def load_folder(
    path: str | Path,
    *,
    size: int | None = None,
    skip_corrupt: bool = False,
    workers: int = 0,
    label: str | None = None,
) -> Pools:
    """Read a folder of images.

    Args:
        path: The folder.
        size: Side of the square images in pixels; None keeps the size, which must be the same for all. Images of up to
            64 pixels are kept in memory, larger ones are decoded for each batch.
        skip_corrupt: Whether to leave out images that cannot be decoded.
        workers: Number of processes that decode large images.
        label: Label of the results; None means the folder's name.

    Raises:
        FileNotFoundError: If there is no such folder, or it has no subfolders.
        ValueError: If a class has no image or does not occur in train, subfolders look like splits but have other
            names, or an image is corrupt.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path}; expected one that has a subfolder of images for each class")
    subfolders = _subfolders(path)
    if subfolders and all(name in _PARTS for name in subfolders):
        folders = {_PARTS[name]: path / name for name in subfolders}
        if "train" not in folders or len(folders) < len(subfolders):
            raise ValueError(
                f"{path} has the splits {', '.join(subfolders)}; expected train, and at most one val and test"
            )
    else:
        _refuse_splits(path, subfolders)
        folders = {"train": path}
    classes = _subfolders(folders["train"])
    if len(classes) < 2:
        count = f"{len(classes)} subfolder{'' if len(classes) == 1 else 's'}"
        raise FileNotFoundError(f"{folders['train']} has {count}; expected one for each class, and two classes or more")
    files: list[Path] = []
    labels: list[int] = []
    members: list[str] = []
    for part, folder in folders.items():
        for name in _subfolders(folder):
            if name not in classes:
                raise ValueError(
                    f"{folder} has the class {name!r}, which {folders['train']} does not have; rename or remove it"
                )
            found = find_images((folder / name).rglob("*"))
            if not found:
                raise ValueError(
                    f"the class folder {folder / name} has no image; expected files such as .jpg or .png in it"
                )
            files += found
            labels += [classes.index(name)] * len(found)
            members += [part] * len(found)
    names = [file.relative_to(path).as_posix() for file in files]
    images, kept, left_out = load_encoded(files, names, labels, size=size, skip_corrupt=skip_corrupt, workers=workers)
    parts, label = [members[i] for i in kept], label or path.resolve().name
    return Pools.divide(images, parts, classes=classes, label=label, left_out=left_out)


def _refuse_splits(path: Path, names: list[str]) -> None:
    """Refuse to read folders as classes that look like splits: two such names, or one that has folders itself."""
    like = [name for name in names if name.lower() in _LIKE_SPLITS]
    if len(like) > 1 or any(_subfolders(path / name) for name in like):
        others = [name for name in names if name not in like]
        raise ValueError(
            f"{path} has {', '.join(like)}{f' beside {others[0]}' if others else ''}, which look like splits and would "
            "be read as classes: name them train, val (if there is one) and test, and move all else, such as unlabeled "
            "images, out of this folder; if they are classes, give them other names"
        )


def _subfolders(path: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in path.iterdir()
        if entry.is_dir() and not entry.name.startswith(".") and entry.name != _OF_MACS and not _is_output(entry)
    )


def _is_output(folder: Path) -> bool:
    """Return whether saam wrote this folder, since result folders among the images are not classes."""
    if any((folder / name).exists() for name in _OWN):
        return True
    inside = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    if inside and all((entry / _PLAN).exists() for entry in inside):
        return True  # a study that has just begun
    return folder.name.startswith(_OUTPUT) and not find_images(inside)
