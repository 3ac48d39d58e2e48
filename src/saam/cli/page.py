"""``saam page``: a page for the browser that shows what a trained network sees."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators
from rich.console import Console

from saam._core.errors import printable
from saam.cli.numbers import Count, Seed, Whole
from saam.cli.outputs import newest
from saam.cli.screen import screen
from saam.comparison import open_run
from saam.data import first_test_images
from saam.export.page import Sample, serving, write_page

__all__ = ["command"]

Port = Annotated[Whole, Parameter(validator=validators.Number(gte=0, lt=2**16))]


def command(
    run: Path | None = None,
    /,
    *,
    out: Path,
    serve: bool = False,
    port: Port = 8000,
    samples: Count = 20,
    arm: str | None = None,
    seed: Seed | None = None,
    data: str | None = None,
) -> None:
    """Write a page that shows predictions and score maps of a trained network for any image, computed in the browser.

    The folder works from any web server and loads nothing from elsewhere. ONNX Runtime for browsers comes from the npm
    registry, once.

    Parameters
    ----------
    run
        Result of saam train or saam compare, or folder of saam.save. Default: the newest result in this folder.
    out
        Folder for the page, new or empty.
    serve
        Serve the page on this machine until Ctrl-C. A page that is already in the folder is served as it is.
    port
        Port of --serve; 0 takes a free one.
    samples
        Number of test images to choose from on the page.
    arm
        Arm of a comparison. Default: the arm that its report is about.
    seed
        Seed of the arm. Default: the one with the highest validation accuracy.
    data
        Data set with options, as in "PATH,size=224" (saam list data). Default: that of the run.
    """
    console = screen()
    if serve and (out / "page.json").is_file():
        console.print(f"{printable(str(out))} holds a page, which is served as it is", soft_wrap=True)
        _serve(console, out, port)
        return
    opened = open_run(run or newest("plan.json", "config.json"), arm=arm, seed=seed, data=data)
    console.print(printable(f"network: {opened.title}"), soft_wrap=True)
    preprocessing = opened.preprocessing
    chosen: list[Sample] = []
    try:
        shown = first_test_images(opened.splits, samples)
        chosen = [Sample(*pair) for pair in zip(shown.pixels, shown.truths, strict=True)]
    except (OSError, ValueError, TypeError, ImportError) as error:  # data gone, or unknown
        console.print(printable(f"no sample images: {error}"), style="yellow", soft_wrap=True)
    page = write_page(opened.network, out, preprocessing=preprocessing, samples=chosen, title=opened.title)
    console.print(f"largest difference of the logits from PyTorch's: {page.difference:.1e}", soft_wrap=True)
    console.print(
        f"page: {printable(str(out))} ({page.size / 1e6:.1f} MB; browsers without WebGPU load "
        f"{page.first_load / 1e6:.1f} MB)",
        soft_wrap=True,
    )
    if not serve:
        console.print(f"to open it: python -m http.server --directory {printable(str(out))}", soft_wrap=True)
        return
    _serve(console, out, port)


def _serve(console: Console, out: Path, port: int) -> None:
    with serving(out, port=port) as address, suppress(KeyboardInterrupt):
        console.print(f"serving {address} until Ctrl-C", soft_wrap=True)
        _wait()


def _wait() -> None:
    threading.Event().wait()
