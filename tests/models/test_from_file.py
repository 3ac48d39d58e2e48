import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from saam.models import create_model, load, rebuild, save
from saam.models.from_file import ARCHITECTURE, check_attention, check_network, room_for
from saam.models.hub import from_hub


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        pytest.fail("a network that is described in a file reached for the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


def described(folder: Path, **model: Any) -> Path:
    """A saved network whose description was changed by a stranger."""
    save(create_model("resnet8", attention="se"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["model"] |= model
    (folder / "config.json").write_text(json.dumps(config))
    return folder


OVERLAY = {"url": "http://127.0.0.1:9/usercustomize.py"}
DOORS = [
    {"pretrained": True},
    {"pretrained": True, "pretrained_cfg_overlay": OVERLAY, "cache_dir": "site-packages"},
    {"pretrained_cfg_overlay": OVERLAY},
    {"pretrained_cfg": {"file": "/tmp/weights.bin"}},
    {"pretrained_cfg": "a1_in1k"},
    {"cache_dir": "site-packages"},
    {"checkpoint_path": "weights.bin"},
    {"checkpoint_path": "/tmp/weights.bin"},
    {"hf_hub_id": "stranger/net"},
    {"features_only": True},
    {"scriptable": True},
    {"global_pool": "../avg"},
    {"act_layer": "file.py"},
    {"drop_rate": {"url": "x"}},
    {"layers": [[2, 2], [2, 2]]},
    {"layers": [1] * 101},
    {"in_chans": 10**9},
    {"drop_rate": 1e300},
]


@pytest.mark.parametrize("options", DOORS, ids=lambda options: ",".join(options))
@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:resnet18", "resnet8"])
def test_options_that_are_not_architecture_are_refused(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.json: the option .* (is not taken from a file|a file may give)"):
        load(described(tmp_path / "net", name=name, options=options))
    assert [path.name for path in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize("option", ["weights", "weights_backbone", "progress"])
def test_weights_of_torchvision_are_refused(option: str, tmp_path: Path) -> None:
    described(tmp_path, name="torchvision:resnet18", options={option: "DEFAULT"})
    with pytest.raises(ValueError, match=f"the option '{option}' of torchvision:resnet18 is not taken from a file"):
        load(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "timm:hf-hub:stranger/net",
        "timm:hf_hub:stranger/net",
        "timm:local-dir:/tmp/net",
        "timm:resnet18.a1_in1k/../../x",
        "hf-hub:stranger/net",
        "/tmp/net",
        "timm:" + "x" * 200,
        3,
        None,
    ],
)
def test_names_with_a_place_in_them_are_refused(name: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a name as the network"):
        load(described(tmp_path, name=name))


def test_the_hub_goes_through_the_same_door(tmp_path: Path) -> None:
    described(tmp_path, name="timm:resnet18", options={"checkpoint_path": "weights.bin"})
    with pytest.raises(ValueError, match="the option 'checkpoint_path' of timm:resnet18 is not taken from a file"):
        from_hub(str(tmp_path))
    (tmp_path / "config.json").write_text("[3]")
    with pytest.raises(ValueError, match="damaged"):
        from_hub(str(tmp_path))


def test_no_backbone_of_torchvision_is_fetched_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_, **__: pytest.fail("fetched"))
    create_model("torchvision:lraspp_mobilenet_v3_large", num_classes=3)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("attention", "timm:../se"),
        ("attention", "x" * 100),
        ("options", {"rd_channels": 10**12}),
        ("options", {"rd_ratio": float(2**40)}),
        ("options", {"gate": "a/b"}),
        ("options", {"rd_ratio": {"x": 1}}),
        ("do", "run"),
        ("site", {"name": "layer1.0.bn2", "channels": 10**9}),
        ("site", {"name": 3, "channels": 16}),
    ],
)
def test_surgery_is_checked(part: str, value: object, tmp_path: Path) -> None:
    save(create_model("resnet8", attention="se"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["surgery"][0][part] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config\.json: "):
        load(tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        {"options": {"width": 65_536}},
        {"options": {"in_channels": 65_536}},
        {"name": "resnet99998"},
        {"name": "wrn1600_99999"},
        {"name": "densenet99994_99999"},
        {"name": "timm:vit_base_patch16_224", "options": {"img_size": 65_536}},
        {"name": "timm:vit_base_patch16_224", "options": {"embed_dim": 65_532, "depth": 60_000}},
        {"name": "timm:vit_giant_patch14_224"},
        {"num_classes": 1_000_000},
    ],
    ids=str,
)
def test_what_is_larger_than_its_weights_is_never_built(model: dict[str, Any], tmp_path: Path) -> None:
    from resource import RUSAGE_SELF, getrusage

    described(tmp_path, **model)
    before, start = getrusage(RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ValueError, match=r"config\.json: .*(larger than its weights|damaged)"):
        load(tmp_path)
    assert getrusage(RUSAGE_SELF).ru_maxrss - before < 500_000  # KB
    assert time.process_time() - start < 20


def test_numbers_of_classes_are_checked() -> None:
    for number in (0, -1, 10**9, 2.5, "10", True, [10]):
        with pytest.raises(ValueError, match="number of classes of resnet8"):
            check_network("resnet8", number if number is not True else "true", {})


def test_room_is_forgotten_at_the_end() -> None:
    with (
        pytest.raises(ValueError, match="far larger than its weights, which have 4 values"),
        room_for({"weight": torch.zeros(4)}),
    ):
        nn.Linear(10_000, 10_000)
    assert nn.Linear(3000, 3000).weight.numel() == 9_000_000


def test_plain_options_still_pass(tmp_path: Path) -> None:
    for name, options in {
        "resnet8": {"width": (4, 6, 8), "stem_stride": 2},
        "timm:test_resnet": {"in_chans": 1, "drop_path_rate": 0.1, "act_layer": "silu"},
        "torchvision:mobilenet_v3_small": {"dropout": 0.1},
    }.items():
        assert options.keys() <= ARCHITECTURE
        model = create_model(name, num_classes=7, **options)
        assert list(load(save(model, tmp_path)).state_dict()) == list(model.state_dict())


def test_arms_are_checked() -> None:
    assert check_attention("saam,heads=4,scorer=pixel") == "saam,heads=4,scorer=pixel"
    for label in ("saam,heads=999999999", "timm:../se", "se,gate=a/b", "se" * 300, 3, "se,x=(1,(2,3))"):
        with pytest.raises(ValueError, match=r"."):
            check_attention(label)


def test_loading_draws_nothing_from_the_global_generator(tmp_path: Path) -> None:
    save(create_model("resnet8", attention="saam"), tmp_path)
    before = torch.get_rng_state()
    load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_changed_temperatures_are_saved(tmp_path: Path) -> None:
    model = create_model("resnet8", attention="saam")
    pools = {name: module for name, module in model.named_modules() if hasattr(module, "temperature")}
    name = next(iter(pools))
    pools[name].temperature = 0.25
    loaded = load(save(model, tmp_path / "a"))
    assert loaded.get_submodule(name).temperature == 0.25
    assert load(save(loaded, tmp_path / "b")).get_submodule(name).temperature == 0.25
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["temperatures"] == {name: 0.25}
    for wrong in ({name: 0}, {name: "x"}, {"conv1": 1.0}, [1], {name: None}):
        with pytest.raises(ValueError, match="temperature"):
            rebuild({**config, "temperatures": wrong})
