"""``saam explain``: show what a trained network looks at, and measure how far the maps can be trusted."""

import re
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter, validators
from torch import Tensor

from saam._core.errors import printable
from saam._core.files import write_atomically
from saam.cli.numbers import Count, Whole
from saam.cli.outputs import newest
from saam.cli.screen import screen
from saam.explain import explain, find_photographs, read_photograph
from saam.explain.figure import GENERATOR
from saam.report.examples import first_of_each_class
from saam.report.runs import Explained, networks_of
from saam.training import writable

__all__ = ["command"]

_IMAGES = 10
_HEAD = 1024  # bytes of a file that say what wrote it
_File = Annotated[Path | None, Parameter(validator=validators.Path(ext=("png", "html"), dir_okay=False))]


def command(
    run: Path | None = None,
    /,
    *,
    image: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    images: Count | None = None,
    arm: str | None = None,
    seed: Whole | None = None,
    sites: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    heads: Annotated[bool, Parameter(negative=())] = False,
    out: _File = None,
) -> None:
    """Draw images with a network's predictions, score maps, Grad-CAM, integrated gradients and gates.

    Parameters
    ----------
    run
        Folder that saam compare, saam train or saam.save wrote. Default: the newest result in this folder.
    image
        Your own photographs: files, and folders of files.
    images
        Number of test images, the first of each class in turn. Default: 10, or none with --image.
    arm
        Arm of a comparison. Default: the best score-based arm.
    seed
        Seed of a comparison. Default: the first one.
    sites
        Sites whose maps and gates are drawn. Default: up to four from first to last.
    heads
        Draw each head of the score maps, not their mean.
    out
        File for the result: a picture (.png) or a page (.html). Default: named after the run, in this folder.
    """
    folder = run or newest("plan.json", "config.json")
    files = find_photographs(image)
    count = images or (0 if files else _IMAGES)
    found = networks_of(folder, arm=arm, seed=seed, data=count > 0)
    target = out or Path(f"explain-{_slug(found.name)}.png")
    _require_own(target)
    network = next(iter(found.networks.values()))
    pixels, names, truths = _test_images(found, folder, count) if count else ([], [], [])
    made = explain(
        network,
        [*map(read_photograph, files), *pixels],
        names=[*(file.name for file in files), *names],
        truths=[*[None] * len(files), *truths],
        title=found.name,
    )
    page = target.suffix.lower() == ".html"
    content = made.to_html(sites=sites, heads=heads).encode() if page else made.to_png(sites=sites, heads=heads)
    with writable(target.parent):
        write_atomically({target: content})
    console = screen()
    for line in (made.title, *made.notes):
        console.print(printable(line), soft_wrap=True)
    console.print(f"{'page' if page else 'picture'}: {printable(str(target))}", soft_wrap=True)


def _test_images(found: Explained, folder: Path, count: int) -> tuple[list[Tensor], list[str], list[str]]:
    """Return the pixels, the names and the true classes of test images."""
    if found.splits is None:
        raise ValueError(
            f"{folder / 'config.json'} does not say on what data the network was trained: pass --image with files of "
            "your own, or a folder that saam train or saam compare wrote"
        )
    test = found.splits.test
    chosen = first_of_each_class(test.labels, count)
    (pixels,) = test.select(chosen).read([torch.arange(len(chosen))])
    truths = [found.splits.classes[label] for label in test.labels[chosen].tolist()]
    return list(pixels), [f"test image {index}" for index in chosen.tolist()], truths


def _require_own(file: Path) -> None:
    """Raise an error if a file exists that this command did not write."""
    if file.exists() and GENERATOR.encode() not in file.read_bytes()[:_HEAD]:
        raise FileExistsError(f"{file} exists, and saam explain did not write it: choose another --out or remove it")


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.=]+", "-", text).strip("-.") or "run"
