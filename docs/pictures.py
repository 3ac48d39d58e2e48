"""Draw the pictures of docs/concepts.md. What they show is computed by saam, not drawn by hand.

python docs/pictures.py            write docs/pictures/*.svg
"""

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

import saam
from saam.nn import BottleneckMLP

FOLDER = Path(__file__).parent / "pictures"
BLUE, ORANGE, GREY = "#2a6f97", "#e07a1f", "#6c757d"
STYLE = {
    "svg.hashsalt": "saam",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "savefig.bbox": "tight",
    "savefig.facecolor": "white",
}


def photograph(side: int = 64) -> Tensor:
    """Return a photograph (1, 3, side, side) in 0..1: a flower, from scikit-learn."""
    flower = torch.from_numpy(load_sample_image("flower.jpg").copy()).permute(2, 0, 1)[None].float() / 255
    return nn.functional.interpolate(flower[..., 100:640], size=(side, side), mode="area")


def warm_pool(strength: float = 6.0) -> saam.ScorePool2d:
    """Return a score pool of three channels whose scores are high on red and low on green and blue."""
    pool = saam.ScorePool2d(3)
    with torch.no_grad():
        pool.weight.copy_(strength * torch.tensor([1.0, -0.6, -0.4]).view(1, 3, 1, 1))
    return pool


def attention() -> Figure:
    """Draw squeeze, excitation and gate as the numbers of a small SE on eight channels."""
    torch.manual_seed(3)
    maps = nn.functional.interpolate(torch.randn(1, 8, 5, 5), size=(16, 16), mode="bicubic")
    se = saam.ChannelAttention(saam.nn.Mean(), BottleneckMLP(8, 4), nn.Sigmoid())
    for parameter in se.parameters():
        nn.init.normal_(parameter, std=0.9)
    with torch.no_grad():
        context = se.squeeze(5 * maps)
        logits = se.excitation(context)
        factors = torch.sigmoid(logits)
        out = maps * factors[:, :, None, None]
    figure = plt.figure(figsize=(9.6, 3.1))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 96), ylim=(0, 31))
    axes.axis("off")
    for x, content, name in ((1, maps, "x  (B, C, H, W)"), (83, out, "output  (B, C, H, W)")):
        for channel in range(8):
            place = (x + 0.55 * (7 - channel), 6 + 1.1 * (7 - channel))
            axes.imshow(
                content[0, channel].numpy(),
                extent=(place[0], place[0] + 8, place[1], place[1] + 8),
                cmap="viridis",
                vmin=-2.2,
                vmax=2.2,
                zorder=channel,
            )
        axes.text(x + 5.5, 3, name, ha="center")
    for x, values, name in (
        (29, context, "context (B, C)"),
        (49, logits, "logits (B, C)"),
        (69, factors, "factors (B, C)"),
    ):
        limit = 1.0 if "factors" in name else float(values.abs().max())
        for channel, value in enumerate(values[0].tolist()):
            axes.add_patch(
                FancyBboxPatch(
                    (x, 22 - 2.1 * channel),
                    1.9,
                    1.5,
                    boxstyle="round,pad=0.1",
                    facecolor=plt.get_cmap("viridis")((value / limit + 1) / 2),
                    edgecolor="white",
                )
            )
        axes.text(x + 1, 3, name, ha="center")
    for start, end, name in ((15.5, 27.5, "squeeze"), (33, 47.5, "excitation"), (53, 67.5, "gate")):
        _arrow(axes, (start, 15), (end, 15), BLUE)
        axes.text((start + end) / 2, 16.3, name, ha="center", color=BLUE, weight="bold", size=12)
    axes.add_patch(Circle((77.5, 15), 1.5, facecolor="white", edgecolor=ORANGE, linewidth=1.5))
    axes.text(77.5, 14.9, "\N{MULTIPLICATION SIGN}", ha="center", va="center", color=ORANGE, size=14)
    _arrow(axes, (73, 15), (76, 15), ORANGE)
    _arrow(axes, (79, 15), (82, 15), ORANGE)
    axes.plot([9, 9, 77.5], [23, 27.5, 27.5], color=ORANGE, linewidth=1.2)
    _arrow(axes, (77.5, 27.5), (77.5, 16.5), ORANGE)
    axes.set_aspect("equal")
    return figure


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, color=colour, shrinkA=0, shrinkB=0))


def squeeze() -> Figure:
    """Draw image, scores, weights and context of a score pool that looks for warm colours."""
    image = photograph()
    pool = warm_pool()
    with torch.no_grad():
        scores, weights = pool.scores(image)[0, 0], pool.score_map(image)[0, 0]
        context = pool(image)[0]
    figure, panels = plt.subplots(1, 4, figsize=(11, 2.8), gridspec_kw={"width_ratios": [1, 1, 1, 0.9]})
    panels[0].imshow(image[0].permute(1, 2, 0).numpy())
    panels[0].set_title("map x (here an image)")
    shown = panels[1].imshow(scores.numpy(), cmap="coolwarm", vmin=-5, vmax=5)
    panels[1].set_title("scores s = w · x")
    figure.colorbar(shown, ax=panels[1], fraction=0.046)
    shown = panels[2].imshow((weights * weights.numel()).numpy(), cmap="inferno", vmin=0)
    panels[2].set_title("weights p, times H W")
    figure.colorbar(shown, ax=panels[2], fraction=0.046)
    for panel in panels[:3]:
        panel.set(xticks=[], yticks=[])
        for spine in panel.spines.values():
            spine.set_visible(False)
    _bars(panels[3], image.mean((2, 3))[0], context)
    figure.tight_layout()
    return figure


def _bars(axes: Axes, mean: Tensor, context: Tensor) -> None:
    place = torch.arange(3).numpy()
    axes.bar(place - 0.2, mean.numpy(), 0.38, color=GREY, label="mean")
    axes.bar(place + 0.2, context.numpy(), 0.38, color=ORANGE, label="sum of p x")
    axes.set_xticks(place, ["red", "green", "blue"])
    axes.set_title("context z")
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=9)


def scorer() -> Figure:
    """Draw the context of one channel against the weight of its scorer."""
    x = photograph(16)[:, :1]
    pool = saam.ScorePool2d(1, scorer="channel")
    strengths = torch.linspace(-60, 60, 241).tolist()
    with torch.no_grad():
        contexts = []
        for strength in strengths:
            pool.weight.fill_(strength)
            contexts.append(float(pool(x)))
    figure, axes = plt.subplots(figsize=(7, 2.8))
    axes.plot(strengths, contexts, color=ORANGE, linewidth=2)
    for value, name in ((x.min(), "minimum"), (x.mean(), "mean"), (x.max(), "maximum")):
        axes.axhline(float(value), color=GREY, linewidth=0.8, linestyle="--")
        axes.text(61, float(value), name, va="center", color=GREY)
    axes.plot([0], [float(x.mean())], "o", color=BLUE)
    axes.set(xlabel="a, the weight of the channel's scorer", ylabel="context", xlim=(-60, 60))
    return figure


PICTURES: dict[str, Callable[[], Figure]] = {"attention": attention, "squeeze": squeeze, "scorer": scorer}


def draw(folder: Path) -> None:
    """Write every picture into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        for name, make in PICTURES.items():
            figure = make()
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)


if __name__ == "__main__":
    mpl.use("agg")
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
