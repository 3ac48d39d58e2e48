"""``saam train``: train one network, from scratch or fine-tuned."""

import json
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from cyclopts import Parameter
from torch import nn

from saam._core.devices import threads_set
from saam._core.files import writable
from saam._core.options import parse_options
from saam.cli.numbers import Count, Seed
from saam.cli.outputs import default_out
from saam.cli.screen import screen, show_data
from saam.comparison import Arm
from saam.comparison.plan_data import coloured, preprocessing_for
from saam.comparison.precision import resolve_precision
from saam.data import Splits, load_data, resolve_name
from saam.explain import observe
from saam.models import create_model, describe, untrained_parameters
from saam.report.words import is_guessing, value_range
from saam.training import (
    PRECISIONS,
    EpochRecord,
    Group,
    Recipe,
    create_recipe,
    fit,
    save_checkpoint,
    saved_run,
    together,
)
from saam.training.tracking import TrackedRun, require_trackers

__all__ = ["command"]


def command(
    *,
    data: str = "photo-digits",
    model: str = "resnet8,stem_stride=2",
    pretrained: bool = False,
    attention: str = "none",
    where: str = "residual",
    start: Literal["default", "identity"] = "identity",
    recipe: str = "",
    seed: Seed = 0,
    out: Path | None = None,
    threads: Count | None = None,
    device: str | None = None,
    again: bool = False,
    track: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
) -> None:
    """Train a network, and save it with its settings, its learning curve and its test score.

    In a pretrained network, new parts (attention and classifier) learn faster than the rest, by the recipe's
    new_parameters_factor. To resume interrupted training, run the same command again. Under torchrun, several
    processes share each batch.

    Parameters
    ----------
    data
        Data set (saam list data), image folder, or folder of parquet files, with options as in "PATH,size=224". If a
        folder has no validation or test images, a tenth is drawn for each; "PATH,test=0.2" changes this.
    model
        Network (saam list models), with options as in "resnet20,width=32".
    pretrained
        Start from the weights published by timm or torchvision.
    attention
        Attention to add (saam list), with options as in "eca,squeeze=score" or "none,head=score"; or "none".
    where
        Placement of the attention.
    start
        "identity": attention changes nothing at first. "default": attention starts as in the papers.
    recipe
        Training recipe (saam list recipes), with changes as in "cifar,epochs=30". With "precision=auto", a few steps
        are timed first and the faster precision is used. Default: "finetune" for a pretrained network, else "demo".
    seed
        Seed of all random draws.
    out
        Folder for weights, settings and learning curve. Default: a name made from the data and the model.
    threads
        Number of threads on the CPU. Default: torch's own number.
    device
        Torch device. Default: the best one.
    again
        Train again if the folder holds this training, finished.
    track
        One or several of tensorboard, wandb and mlflow, to log the curves there.
    """
    require_trackers(track)
    name, changes = parse_options(recipe or ("finetune" if pretrained else "demo"))
    chosen = create_recipe(name, **changes)
    (data_name, data_options), (model_name, model_options) = parse_options(data), parse_options(model)
    arm = Arm(attention)
    splits = load_data(data_name, **data_options)
    network = create_model(
        model_name,
        attention=arm.attention,
        head=arm.head,
        num_classes=len(splits.classes),
        pretrained=pretrained,
        where=where,
        start=start,
        seed=seed,
        **model_options,
    )
    splits = coloured(splits, model_name, pretrained=pretrained)
    network.preprocessing = preprocessing_for(splits)  # type: ignore[assignment]
    settings: dict[str, Any] = {
        **describe(network),
        "pretrained": pretrained,
        "data": {
            "name": resolve_name(data_name),
            "options": data_options,
            "label": splits.label,
            "fingerprint": splits.fingerprint,
        },
        "recipe": chosen.to_dict(),
        "seed": seed,
    }
    kept = json.loads(json.dumps(settings))
    identity = _identity(kept)
    out = out or default_out(data_name, model_name, identity)
    console = screen()
    with together(device) as group, threads_set(threads), ExitStack() as stack:
        console.quiet = group.rank > 0
        if chosen.precision == "auto":
            chosen = _resolved(chosen, network, splits, group, out)
            settings["recipe"] = identity["recipe"] = chosen.to_dict()
        if _finished(out, identity) and not again:
            console.print(f"{out} holds this training, finished; --again trains it again", soft_wrap=True)
            return
        stack.enter_context(writable(out))
        show_data(console, splits)
        title = f"{model} on {Path(data_name).name}"
        logs = [
            TrackedRun(
                each, out, project=f"saam {title}", name=f"{attention} seed {seed}", group=attention, config=kept
            )
            for each in (track if group.rank == 0 else ())
        ]

        def show(epoch: EpochRecord) -> None:
            console.print(
                f"epoch {epoch.epoch}/{chosen.epochs}  "
                f"train {epoch.train_loss:.3f} nats, {epoch.train_accuracy:.2f} %  "
                f"validation {epoch.validation_loss:.3f} nats, {epoch.validation_accuracy:.2f} %  "
                f"{epoch.seconds:.1f} s{_uses(epoch)}",
                soft_wrap=True,
            )
            for log in logs:
                log.log(epoch.epoch, {key: value for key, value in asdict(epoch).items() if key != "epoch"})

        state = out / "state.pt"
        fitted = fit(
            network,
            splits,
            chosen,
            seed=seed,
            device=group.device,
            new_parameters=untrained_parameters(network) if pretrained else (),
            observe=observe,
            on_epoch=show,
            state=state,
            identity=identity,
        )
        test = fitted.test.mean()
        if group.rank == 0:
            save_checkpoint(out, network, {**settings, "test": asdict(test)}, fitted.result.curve)
            state.unlink(missing_ok=True)
        for log in logs:
            log.finish({f"test/{key}": value for key, value in asdict(test).items()})
        console.print(
            f"test: {test.accuracy:.2f} % of {test.count} images, log-loss {test.loss:.3f} nats", soft_wrap=True
        )
        if is_guessing(test.accuracy, len(splits.classes), test.count):
            console.print(
                f"not clearly better than guessing, {100 / len(splits.classes):.2f} %: try a lower learning rate or "
                "more epochs (--recipe)",
                soft_wrap=True,
            )
        console.print(f"saved: {out}", soft_wrap=True)


def _resolved(recipe: Recipe, network: nn.Module, splits: Splits, group: Group, out: Path) -> Recipe:
    """Return the recipe with the precision stored in the folder, or the faster one as measured by the first process."""
    index = 0
    if group.rank == 0:
        found = resolve_precision(
            recipe,
            network,
            image_size=splits.train.shape,
            images=len(splits.train),
            device=group.device,
            known=_kept_precision(out),
        )
        index = PRECISIONS.index(found.precision)
    return recipe.replace(precision=PRECISIONS[int(group.total(torch.tensor(index)))])


def _kept_precision(out: Path) -> str:
    """Return the precision of the training in a folder, finished or not; empty if there is none."""
    kept = saved_run(out / "state.pt")
    if not kept and (out / "config.json").is_file():
        with suppress(ValueError):  # a network of unknown origin is refused later
            kept = json.loads((out / "config.json").read_text(encoding="utf-8"))
    precision = kept.get("recipe", {}).get("precision", "") if isinstance(kept, dict) else ""
    return precision if precision in PRECISIONS and precision != "auto" else ""


def _uses(epoch: EpochRecord) -> str:
    """Return the range over the sites of the maps' relative change and of the share of pixels, as far as observed."""
    kinds = (("attention changes maps by", "gate_use", "change"), ("scores", "score_use", "share"))
    found = [(said, [use[name] for use in epoch.observed.get(key, {}).values()]) for said, key, name in kinds]
    return "".join(f"  {said} {value_range(values)}" for said, values in found if values)


def _identity(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that identify a training, without the location of its data and library versions."""
    same = {name: settings[name] for name in ("model", "surgery", "pretrained", "recipe", "seed")}
    return {**same, "data": settings["data"]["fingerprint"]}


def _finished(out: Path, identity: dict[str, Any]) -> bool:
    """Return whether a folder holds this training, finished.

    Raises:
        ValueError: If it holds a training with other settings, a network of unknown origin, or a comparison.
    """
    for name, what in {"plan.json": "comparison", "study.json": "study"}.items():
        if (out / name).exists():
            raise ValueError(f"{out} holds a {what}: choose another --out")
    file = out / "config.json"
    if not file.is_file():
        return False
    try:
        kept = _identity(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError):
        kept = {}
    if kept != identity:
        raise ValueError(f"{out} holds a finished training with other settings: choose another --out or remove it")
    return True
