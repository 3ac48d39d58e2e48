"""``saam explain``: show what a trained network looks at, and measure how far the maps can be trusted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from torch import Tensor

from saam._core.errors import printable
from saam._core.files import writable, write_atomically
from saam.cli.numbers import Count, Seed
from saam.cli.outputs import newest
from saam.cli.screen import screen
from saam.cli.trust import measure_trust, require_own
from saam.comparison import SavedRun, open_run
from saam.data import first_test_images
from saam.explain import Explanation, explain
from saam.explain.photographs import read_photographs
from saam.report.examples import weight_on_object

__all__ = ["command"]

_IMAGES = 10
_File = Annotated[Path | None, Parameter(validator=validators.Path(ext=("png", "html", "json"), dir_okay=False))]


def command(
    run: Path | None = None,
    /,
    *,
    image: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    images: Count | None = None,
    arm: str | None = None,
    seed: Seed | None = None,
    data: str | None = None,
    sites: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    heads: bool = False,
    measure: bool = False,
    out: _File = None,
) -> None:
    """Draw images with a network's predictions, score maps, Grad-CAM, integrated gradients and gates.

    With --measure, measure how far the maps can be trusted.

    Parameters
    ----------
    run
        Result of saam train or saam compare, or folder of saam.save. Default: the newest result in this folder.
    image
        Your own photographs: files, and folders of files.
    images
        Number of test images, the first of each class in turn. Default: 10, none with --image, 100 with --measure.
    arm
        Arm of a comparison. Default: the arm that its report is about.
    seed
        Seed of the arm. Default: the one with the highest validation accuracy, or all with --measure.
    data
        Data set with options, as in "PATH,size=224" (saam list data). Default: that of the run.
    sites
        Sites whose maps and gates are drawn. Default: up to four from first to last.
    heads
        Draw each head of the score maps, not their mean.
    measure
        Measure the maps on test images, against maps that know nothing of the network: do they find the object, do they
        tell what the network uses, do they depend on its weights, and do two seeds agree?
    out
        File for the result: a picture (.png) or a page (.html), named after the run by default. With --measure, a
        record (.json), none by default.
    """
    folder = run or newest("plan.json", "config.json")
    if measure:
        if image or sites or heads or _suffix(out, ".json") != ".json":
            raise ValueError("--measure takes test images and writes .json: leave out --image, --sites and --heads")
        if images == 1:
            raise ValueError(
                "--measure compares images, so it takes two or more: pass --images 2, or leave it out for 100"
            )
        measure_trust(folder, arm=arm, seed=seed, data=data, images=images, out=out)
        return
    if _suffix(out, ".png") == ".json":
        raise ValueError("expected --out with .png or .html; .json is for --measure")
    photographs, skipped = read_photographs(image)
    count = images or (0 if photographs else _IMAGES)
    opened = open_run(folder, arm=arm, seed=seed, data=data)
    target = out or Path(f"explain-{opened.name}.png")
    require_own(target)
    made = _explained(opened, photographs, count)
    page = _suffix(target, "") == ".html"
    content = made.to_html(sites=sites, heads=heads).encode() if page else made.to_png(sites=sites, heads=heads)
    with writable(target.parent):
        write_atomically({target: content})
    console = screen()
    weight = weight_on_object([opened.network], opened.splits) if count and made.scores else ""
    guesses = [
        f"{name}: {label}, {100 * probability:.0f} %"
        for name, (label, probability) in zip(made.names, made.predictions, strict=True)
    ][: len(photographs)]
    for line in filter(None, (made.title, *guesses, *skipped, *made.notes, weight)):
        console.print(printable(line), soft_wrap=True)
    console.print(f"{'page' if page else 'picture'}: {printable(str(target))}", soft_wrap=True)


def _explained(opened: SavedRun, photographs: Sequence[tuple[Path, Tensor]], count: int) -> Explanation:
    """Explain photographs, then test images."""
    pixels, names = [each for _, each in photographs], [file.name for file, _ in photographs]
    truths: list[str | None] = [None] * len(photographs)
    if count:
        test = first_test_images(opened.splits, count)
        pixels += test.pixels
        names += [f"test image {index}" for index in test.indices]
        truths += test.truths
    return explain(
        opened.network, pixels, preprocessing=opened.preprocessing, names=names, truths=truths, title=opened.title
    )


def _suffix(file: Path | None, default: str) -> str:
    return default if file is None else file.suffix.lower()
