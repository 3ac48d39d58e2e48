"""``saam explain``: draw the score maps of a trained network."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter, validators

from saam._core.errors import printable
from saam._core.files import write_atomically
from saam.cli.numbers import Count
from saam.cli.outputs import newest
from saam.cli.screen import screen
from saam.data import load_kept_data
from saam.models import load
from saam.report.examples import comparison_strip, data_strip
from saam.training import load_checkpoint, writable

__all__ = ["command"]


def command(
    folder: Path | None = None,
    /,
    *,
    images: Count = 10,
    out: Annotated[Path, Parameter(validator=validators.Path(ext="png", dir_okay=False))] = Path("score-maps.png"),
) -> None:
    """Draw test images with the score maps of a trained network over them.

    Parameters
    ----------
    folder
        Result of saam compare or saam train. Of a comparison, the best score-based arm is drawn. Default: the newest
        result in this folder.
    images
        Number of images.
    out
        File for the picture (PNG).
    """
    folder = folder or newest("plan.json", "config.json")
    if (folder / "plan.json").exists():
        drawn = comparison_strip(folder, images=images)
        if drawn is None:
            raise ValueError(
                f"{folder} has no finished run of an arm with a score squeeze; compare 'saam' among others"
            )
    else:
        config = load_checkpoint(folder).config
        try:
            name, options = str(config["data"]["name"]), dict(config["data"]["options"])
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{folder / 'config.json'} does not say on what data the network was trained: pass a folder that "
                "saam train or saam compare wrote"
            ) from None
        drawn = data_strip(load(folder), load_kept_data(name, **options), images=images, title=str(folder))
    with writable(out.parent):
        write_atomically({out: drawn.png})
    console = screen()
    console.print(printable(drawn.title))
    console.print(f"picture: {printable(str(out))}", soft_wrap=True)
