"""Save and load networks: weights, and a description of the network and its surgery.

model.safetensors   weights and buffers, under the keys of the network without surgery, the new ones beside them
config.json         {"model": name, classes and options, "surgery": one record a site, "versions": ...}; where the
                    temperature of a score pool was changed after it was built, "temperatures": {module: temperature};
                    where the network has a preprocessing, "preprocessing": its values

Either file may come from a stranger: :mod:`saam.models.from_file` defines what may be built from it.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saam._core.errors import one_line
from saam._core.files import json_bytes, read_bytes, read_json, write_atomically
from saam._core.random import generators_kept
from saam._core.weights import stored
from saam._version import __version__
from saam.models.factory import create_model, model_card
from saam.models.from_file import check_network, check_surgery, room_for
from saam.models.preprocessing import Preprocessing, preprocessing_of
from saam.nn import ScorePool2d
from saam.surgery import Attended, Site, attach, upgrade
from saam.surgery.adapters import Upgraded, UpgradedPool
from saam.surgery.attach import Attention
from saam.surgery.modules import refuse, visible_modules

__all__ = ["attached_function", "describe", "load", "rebuild", "save", "tensors_of"]

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_WITHOUT_CARD = "del model.saam_card, save, and load with model=, the same network before surgery"

# Errors of libraries for sizes that do not match. ValueError has a clear message and is not listed.
_DAMAGE = (AssertionError, ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError)


def describe(model: nn.Module) -> dict[str, Any]:
    """Return a JSON-compatible description of a network: model, surgery and versions.

    If it is part of the config of a checkpoint, :func:`load` can read that checkpoint.

    Raises:
        TypeError: If the network is compiled, scripted or distributed.
        ValueError: If the network was changed by other means than surgery, with two different functions as attention,
            or with something that has no name, such as a function as a squeeze.
    """
    refuse(model, to="save")
    attached_function(model)
    card = model_card(model)
    if card is not None:
        try:
            check_network(card.name, card.num_classes, card.options)
        except ValueError as error:
            raise ValueError(f"cannot save this {type(model).__name__} by name ({error}): {_WITHOUT_CARD}") from error
    description: dict[str, Any] = {
        "model": None
        if card is None
        else {"name": card.name, "num_classes": card.num_classes, "options": card.options},
        "surgery": _surgery(model),
        "versions": _versions(),
    }
    if temperatures := _temperatures(model):
        description["temperatures"] = temperatures
    if preprocessing := preprocessing_of(model):
        description["preprocessing"] = preprocessing.to_json()
    try:
        json.dumps(description, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cannot describe this {type(model).__name__} ({error}): options of network and attention must be numbers, "
            "texts and lists of these, squeezes must be given by name"
        ) from error
    if card is not None:
        _require_same(model, description)
    return description


def rebuild(
    description: Mapping[str, Any], *, model: nn.Module | None = None, attention: Attention | None = None
) -> nn.Module:
    """Build a network from the result of :func:`describe`, with new weights.

    Nothing is downloaded and no file is opened, whatever the description says: see :mod:`saam.models.from_file`.

    Args:
        description: A dict with "model" and "surgery".
        model: The network before surgery, if :func:`saam.create_model` cannot build it. It is changed in place.
        attention: The function of the channels, if the attention was given as a function.

    Raises:
        ValueError: If the description is damaged, a file may not set what it requests, model or attention is required,
            or the attention was a function of another name.
    """
    if model is not None:
        refuse(model)
    try:
        known, surgery = description["model"], check_surgery(description["surgery"])
        if model is None:
            if known is None:
                raise ValueError(
                    "the network was not made by saam.create_model: pass model=, the network before surgery"
                )
            model = create_model(**check_network(known["name"], known["num_classes"], known["options"]))
        _redo(model, surgery, attention)
        _set_temperatures(model, description.get("temperatures", {}))
        if "preprocessing" in description:
            model.preprocessing = Preprocessing.from_json(description["preprocessing"])  # type: ignore[assignment]
    except _DAMAGE as error:
        what = one_line(f"{type(error).__name__}: {error}")
        raise ValueError(f"the description of the network is damaged ({what}): save the network again") from error
    return model


def save(model: nn.Module, folder: str | Path) -> Path:
    """Save a network, including its surgery, so that :func:`load` can rebuild it.

    A file may set the options in :data:`saam.models.from_file.ARCHITECTURE`. A network with other options must be saved
    without its name: ``del model.saam_card``, save, and load with ``model=``, the same network before surgery.

    Returns:
        The folder, with ``model.safetensors`` and ``config.json``.

    Raises:
        TypeError: If the network is compiled, scripted or distributed.
        ValueError: If the network was changed by other means than surgery, with two different functions as attention,
            or with something that has no name, such as a function as a squeeze, its state dict holds something else
            than tensors, a file may not set one of its options, or the folder holds a training, comparison or study.
        OSError: If the folder cannot be written.
    """
    from safetensors.torch import save as to_bytes

    folder = Path(folder)
    for name, what in (("curves.json", "a training"), ("plan.json", "a comparison"), ("study.json", "a study")):
        if (folder / name).exists():
            raise ValueError(f"{folder} holds {what} ({name}), which saving would damage: choose another folder")
    description = json_bytes(describe(model))
    weights = to_bytes(stored(tensors_of(model)), metadata={"format": "pt"})
    folder.mkdir(parents=True, exist_ok=True)
    contents = {_WEIGHTS: weights, _CONFIG: description}
    write_atomically({folder / name: content for name, content in contents.items()})
    return folder


def load(folder: str | Path, *, model: nn.Module | None = None, attention: Attention | None = None) -> nn.Module:
    """Build a network that :func:`save` saved, with its weights in their original dtypes, on the CPU.

    Args:
        folder: Contains ``model.safetensors`` and ``config.json``.
        model: The network before surgery, if :func:`saam.create_model` cannot build it. It is changed in place.
        attention: The function of the channels, if the attention was given as a function.

    Returns:
        The network, in evaluation mode. If the folder says how images become its input, as that of a trained network
        does, ``network.preprocessing`` is that :class:`saam.models.Preprocessing`.

    Raises:
        FileNotFoundError: If the folder or a file does not exist.
        ValueError: If a file is damaged, or does not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    folder = Path(folder)
    for name in (_WEIGHTS, _CONFIG):
        if not (folder / name).exists():
            raise FileNotFoundError(
                f"no saved network in {folder}: {name} is missing; pass a folder that save or saam train wrote "
                "(saam.comparison.open_run opens those of saam compare)"
            )
    try:
        weights = from_bytes(read_bytes(folder / _WEIGHTS))
        description = read_json(folder / _CONFIG)
        if not isinstance(description, dict):
            raise ValueError(f"{_CONFIG} does not hold an object")
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the network saved in {folder} is damaged ({error}): save it again") from error
    try:
        with room_for(weights):
            built = rebuild(description, model=model, attention=attention)
    except ValueError as error:
        raise ValueError(f"{folder / _CONFIG}: {error}") from error
    _take_dtypes(built, weights)
    try:
        built.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"the weights in {folder} do not fit the network that is described there: {one_line(error)}"
        ) from error
    return built.eval()


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the state dict of a network.

    Raises:
        ValueError: If it holds something else than tensors.
    """
    state = model.state_dict()
    for key, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"cannot save this {type(model).__name__}: {key!r} in its state dict is a {type(value).__name__}, not "
                "a tensor; if the network was quantised, save it as it was before"
            )
    return state


def attached_function(model: nn.Module) -> Attention | None:
    """Return the function that the attention of a network was given as, or None.

    Raises:
        ValueError: If there are several.
    """
    requests = [module.request for module in model.modules() if isinstance(module, Attended)]
    functions = [request["attention"] for request in requests if not isinstance(request["attention"], str)]
    for function in functions:
        if function != functions[0] and repr(function) != repr(functions[0]):  # equal partials are not equal objects
            raise ValueError(
                f"cannot save attention of two functions, {_name(functions[0])} and {_name(function)}, because load "
                "takes one: attach one function everywhere, or register each as an attention with a name"
            )
    return functions[0] if functions else None


def _require_same(model: nn.Module, description: Mapping[str, Any]) -> None:
    """Raise an error unless a network built from the description accepts the weights of this one."""
    with generators_kept():
        built = rebuild(description, attention=attached_function(model))
    saved, loaded = ({key: tuple(value.shape) for key, value in tensors_of(net).items()} for net in (model, built))
    differing = [key for key in saved | loaded if saved.get(key) != loaded.get(key)]
    if differing:
        key = differing[0]
        more = f" and {len(differing) - 1} more" if differing[1:] else ""
        raise ValueError(
            f"cannot save this {type(model).__name__}, which was changed after create_model made it: {key!r}{more} "
            f"would not load, with the shape {saved.get(key)} here and {loaded.get(key)} in what load builds; pass "
            f"the change to create_model, such as num_classes, or {_WITHOUT_CARD}"
        )


def _take_dtypes(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Convert a network to the dtypes of the weights, and unsaved buffers to the dtype of the first."""
    floating = [value.dtype for value in weights.values() if value.is_floating_point()]
    model.to(next(iter(floating), None))
    for key, value in model.state_dict(keep_vars=True).items():
        if key in weights:
            value.data = value.data.to(weights[key].dtype)


def _surgery(model: nn.Module) -> list[dict[str, Any]]:
    """Return one record per change of a network, in an order in which the changes can be repeated."""
    attached: list[dict[str, Any]] = []
    upgraded: list[dict[str, Any]] = []
    for name, module in visible_modules(model).items():
        stood = module
        if isinstance(module, Attended):
            attached.append(_attach_record(module))
            stood = module.original
            for inner, part in module.attention.named_modules(prefix=f"{name}.attention"):
                if isinstance(part, Upgraded):
                    upgraded.append({"do": "upgrade", "site": inner, **part.request})
        if isinstance(stood, Upgraded | UpgradedPool):
            do = "upgrade" if isinstance(stood, Upgraded) else "upgrade-head"
            upgraded.append({"do": do, "site": name, **stood.request})
    return attached + upgraded


def _attach_record(module: Attended) -> dict[str, Any]:
    attention = module.request["attention"]
    record = {"do": "attach", "site": asdict(module.site), **module.request}
    if not isinstance(attention, str):
        record |= {"attention": None, "function": _name(attention)}
    return record


def _required(function: Attention | None, name: str) -> Attention:
    """Return a function, if it is given and has this name."""
    if function is None or _name(function) != _plain(name):
        got = "" if function is None else f", got {_name(function)}"
        raise ValueError(f"the attention was the function {name}{got}: pass {name} as attention=")
    return function


def _name(function: Any) -> str:
    return _plain(getattr(function, "__qualname__", repr(function)))


def _plain(name: str) -> str:
    """Remove from the name of a function what differs between programs: addresses, and the functions around it."""
    return re.sub(r" at 0x[0-9a-f]+|[^ ]*<locals>\.", "", name)


def _redo(model: nn.Module, surgery: list[dict[str, Any]], attention: Attention | None) -> None:
    request: dict[str, Any]
    for request, group in groupby(surgery, key=_request):
        places: list[Any] = [record["site"] for record in group]
        options = request["options"]
        if request["do"] == "attach":
            wanted = request["attention"] or _required(attention, request["function"])
            attach(model, wanted, where=[_site(place) for place in places], start=request["start"], **options)
        else:
            head = request["do"] == "upgrade-head"
            upgrade(model, squeeze=request["squeeze"], head=head, where=[] if head else places, **options)


def _request(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "site"}


def _site(place: dict[str, Any]) -> Site:
    return Site(**{**place, "size": place["size"] and tuple(place["size"])})


def _temperatures(model: nn.Module) -> dict[str, float]:
    """Return the temperatures that were changed after their score pools were built."""
    pools = {name: module for name, module in model.named_modules() if isinstance(module, ScorePool2d)}
    return {name: pool.temperature for name, pool in pools.items() if pool.temperature != pool.built_temperature}


def _set_temperatures(model: nn.Module, temperatures: Any) -> None:
    if not isinstance(temperatures, dict):
        raise ValueError(f"expected temperatures by the names of score pools, got {temperatures!r:.80}")
    modules = dict(model.named_modules())
    for name, temperature in temperatures.items():
        pool = modules.get(name)
        if not isinstance(pool, ScorePool2d):
            raise ValueError(f"expected the name of a score pool with its temperature, got {name!r:.80}")
        if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
            raise ValueError(f"the temperature of {name!r} must be a number above 0, got {temperature!r:.80}")
        pool.temperature = float(temperature)


def _versions() -> dict[str, str]:
    versions = {"saam": __version__, "torch": torch.__version__}
    for package in ("timm", "torchvision"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
