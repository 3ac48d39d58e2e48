"""``saam export``: write a trained network for other runtimes."""

from pathlib import Path
from typing import Literal

import torch

from saam._core.errors import printable
from saam.cli.numbers import Seed
from saam.cli.outputs import newest
from saam.cli.screen import screen
from saam.comparison import SavedRun, open_run
from saam.data import normalise, score_batches, split_indices
from saam.export import Exported, OnnxNetwork, to_int8, to_onnx, to_safetensors, to_torch_export
from saam.training import Scores, evaluate

__all__ = ["command"]

Format = Literal["onnx", "torch-export", "safetensors"]

_SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": ".safetensors"}
_CALIBRATION = 512  # training images
_BATCH = 100


def command(
    run: Path | None = None,
    /,
    *,
    format: Format | None = None,  # noqa: A002
    out: Path | None = None,
    arm: str | None = None,
    seed: Seed | None = None,
    maps: bool = False,
    int8: bool = False,
    data: str | None = None,
) -> None:
    """Write a trained network as one file that other runtimes load, and check that it computes the same.

    The file takes any number and size of images and holds their preprocessing: size, mean, std and class names.

    Parameters
    ----------
    run
        Result of saam train or saam compare, or folder of saam.save. Default: the newest result in this folder.
    format
        "onnx" for ONNX Runtime, browsers and other frameworks, "torch-export" for PyTorch without saam, "safetensors"
        for the weights. Default: what the ending of --out says, else "onnx".
    out
        The file, which must not exist. Default: the name of the run, in this folder.
    arm
        Arm of a comparison. Default: the arm that its report is about.
    seed
        Seed of the arm. Default: the one with the highest validation accuracy.
    maps
        Add the score maps as outputs, named after their sites.
    int8
        Quantise an ONNX file, calibrated on training images, and print the test accuracy before and after.
    data
        Data set with options, as in "PATH,size=224" (saam list data). Default: that of the run. Gives the preprocessing
        if the run does not say it, and the images for --int8.
    """
    kind = _format(format, out)
    if kind == "safetensors" and maps:
        raise ValueError("--maps adds outputs, and safetensors holds weights only: choose another --format")
    if kind != "onnx" and int8:
        raise ValueError(f"--int8 quantises ONNX files: expected --format onnx, got {kind}")
    opened = open_run(run or newest("plan.json", "config.json"), arm=arm, seed=seed, data=data)
    path = out or Path(opened.name + (".int8" if int8 else "") + _SUFFIXES[kind])
    console = screen()
    console.print(printable(f"network: {opened.title}"), soft_wrap=True)
    if int8:
        exported = _int8(opened, path, maps=maps)
    elif kind == "onnx":
        exported = to_onnx(opened.network, path, preprocessing=opened.preprocessing, maps=maps)
    elif kind == "torch-export":
        exported = to_torch_export(opened.network, path, preprocessing=opened.preprocessing, maps=maps)
    else:
        exported = to_safetensors(opened.network, path, preprocessing=opened.preprocessing)
    for line in _lines(exported):
        console.print(printable(line), soft_wrap=True)
    if int8:
        for name, scores in _accuracies(opened, path).items():
            console.print(
                f"test, {name}: {scores.accuracy:.2f} % of {scores.count} images, log-loss {scores.loss:.3f} nats",
                soft_wrap=True,
            )
    console.print(printable(f"saved: {path} ({exported.size / 1e6:.2f} MB)"), soft_wrap=True)


def _format(chosen: Format | None, out: Path | None) -> Format:
    """Return the format, which the ending of the file must not contradict.

    Raises:
        ValueError: If it does, or says nothing.
    """
    known = {suffix: name for name, suffix in _SUFFIXES.items()}
    named = known.get(out.suffix.lower()) if out is not None else None
    if out is not None and (named is None if chosen is None else named not in (None, chosen)):
        wanted = ", ".join(known)
        raise ValueError(
            f"{out.name} does not fit --format {chosen}: expected a name that ends in {wanted}"
            if chosen
            else f"{out.name} does not say the format: expected a name that ends in {wanted}, or --format"
        )
    return chosen or named or "onnx"


def _int8(opened: SavedRun, path: Path, *, maps: bool) -> Exported:
    splits = opened.splits
    images = splits.train
    if len(images) > _CALIBRATION:
        images = images.select(split_indices(images.labels, test=_CALIBRATION, seed=0)[2])
    (pixels,) = images.read([torch.arange(len(images))])
    known = opened.preprocessing
    x = normalise(pixels, known.mean, known.std)
    return to_int8(opened.network, path, x, preprocessing=known, maps=maps)


def _accuracies(opened: SavedRun, path: Path) -> dict[str, Scores]:
    batches = score_batches(opened.splits, "test", batch_size=_BATCH)
    return {"float32": evaluate(opened.network, batches), "int8": evaluate(OnnxNetwork(path), batches)}


def _lines(exported: Exported) -> list[str]:
    """Describe an export: the agreement with PyTorch, the free axes and the maps."""
    lines = [f"largest difference of the logits from PyTorch's: {exported.difference:.1e}"]
    if exported.axes:
        fixed = "" if len(exported.axes) == 3 else "; the network fixes the others"
        lines.append(f"any {', '.join(exported.axes)}{fixed}")
    if exported.outputs[1:]:
        lines.append(f"outputs: {', '.join(exported.outputs)}")
    return lines
