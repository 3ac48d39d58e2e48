import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from timm.layers import GlobalContext
from torch import Tensor, nn

from saam.models import create_model, describe, load, rebuild, save
from saam.nn import SAAM
from saam.surgery import attach, upgrade

X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def shaken(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.rand(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def outputs(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model(X)


def plain(model: nn.Module) -> None:
    """No surgery."""


def attached_and_upgraded(model: nn.Module) -> None:
    attach(model, "se")
    upgrade(model, head=True, heads=2)


def upgraded_and_attached(model: nn.Module) -> None:
    upgrade(model)
    attach(model, "saam", heads=4, start="default")
    attach(model, "eca", where="stage")


def fixed_size(model: nn.Module) -> None:
    attach(model, "ge", example=X)


@pytest.mark.parametrize(
    ("name", "operate", "options"),
    [
        ("resnet8", plain, {"width": (4, 6, 8)}),
        ("resnet8", attached_and_upgraded, {"stem_stride": 2}),
        ("resnet8", fixed_size, {}),
        ("timm:mobilenetv3_small_050", upgraded_and_attached, {"drop_path_rate": 0.1}),
        ("torchvision:mobilenet_v3_small", upgraded_and_attached, {}),
    ],
)
def test_a_loaded_network_is_the_saved_one(name: str, operate, options: dict[str, object], tmp_path: Path) -> None:
    model = create_model(name, num_classes=7, **options)
    operate(model)
    shaken(model)
    save(model, tmp_path / "net")
    loaded = load(tmp_path / "net")
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert torch.equal(outputs(loaded), outputs(model))
    assert json.dumps(describe(loaded)) == json.dumps(describe(model))
    assert not loaded.training
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["config.json", "model.safetensors"]


def test_config_says_what_was_done(tmp_path: Path) -> None:
    model = create_model("resnet8", attention="saam,heads=2")
    config = json.loads((save(model, tmp_path) / "config.json").read_text())
    assert config["model"] == {"name": "resnet8", "num_classes": None, "options": {}}
    assert [record["site"]["name"] for record in config["surgery"]] == [f"layer{i}.0.bn2" for i in (1, 2, 3)]
    assert {record["attention"] for record in config["surgery"]} == {"saam"}
    assert config["surgery"][0]["options"] == {"heads": 2}
    assert {"saam", "torch"} <= config["versions"].keys()


def test_networks_from_elsewhere(tmp_path: Path) -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    model = net()
    attach(model, SAAM, where="conv")
    shaken(model)
    save(model, tmp_path)
    with pytest.raises(ValueError, match=r"not made by saam.create_model: pass model="):
        load(tmp_path)
    with pytest.raises(ValueError, match="the function SAAM: pass SAAM as attention="):
        load(tmp_path, model=net())
    assert torch.equal(outputs(load(tmp_path, model=net(), attention=SAAM)), outputs(model))


def test_compiled_and_distributed_networks_are_refused(tmp_path: Path) -> None:
    model = create_model("resnet8", attention="saam")
    for wrapped in (torch.compile(model, backend="eager"), nn.DataParallel(model)):
        with pytest.raises(
            TypeError, match=r"cannot save the network of type .*; use model\.module|\(model\._orig_mod\)"
        ):
            save(wrapped, tmp_path / "net")
    assert not (tmp_path / "net").exists()
    save(model, tmp_path)
    with pytest.raises(TypeError, match="cannot change the network"):
        load(tmp_path, model=nn.DataParallel(model))


def test_what_would_not_load_is_not_saved(tmp_path: Path) -> None:
    model = create_model("resnet8", attention="saam", num_classes=10)
    model.fc = nn.Linear(64, 3)
    with pytest.raises(
        ValueError, match=r"'fc.weight' and 1 more would not load, with the shape \(3, 64\) here and \(10, 64\) in what"
    ):
        save(model, tmp_path)
    model.layer4 = nn.Conv2d(3, 3, 1, bias=False)
    model.fc = nn.Linear(64, 10)
    draws = torch.get_rng_state()
    with pytest.raises(
        ValueError, match=r"'layer4.weight' would not load, .* \(3, 3, 1, 1\) here and None .*num_classes"
    ):
        save(model, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(draws, torch.get_rng_state())
    model.fc = nn.Linear(64, 3)
    shaken(model)
    del model.saam_card
    save(model, tmp_path)
    before = create_model("resnet8", num_classes=3)
    before.layer4 = nn.Conv2d(3, 3, 1, bias=False)
    assert torch.equal(outputs(load(tmp_path, model=before)), outputs(model))


def test_options_that_no_file_may_set_are_told_with_the_way_out(tmp_path: Path) -> None:
    def net() -> nn.Module:
        return create_model("timm:resnet18", block_args={"attn_layer": "se"}, num_classes=5)

    model = net()
    attach(model, "saam")
    shaken(model)
    with pytest.raises(
        ValueError,
        match=r"cannot save this ResNet by name \(the option 'block_args' .*\): del model.saam_card, save, and load",
    ):
        save(model, tmp_path)
    assert list(tmp_path.iterdir()) == []
    del model.saam_card
    save(model, tmp_path)
    assert torch.equal(outputs(load(tmp_path, model=net())), outputs(model))


def test_attention_of_a_function_is_saved(tmp_path: Path) -> None:
    model = create_model("resnet8", attention=SAAM)
    save(shaken(model), tmp_path)
    assert torch.equal(outputs(load(tmp_path, attention=SAAM)), outputs(model))


def cool(channels: int) -> nn.Module:
    return SAAM(channels, temperature=2.0)


def test_two_equal_partials_are_one_function(tmp_path: Path) -> None:
    model = create_model("resnet8", seed=0)
    for where in ("layer1.0.bn2", "layer2.0.bn2"):
        attach(model, partial(SAAM, heads=2), where=where)
    loaded = load(save(model, tmp_path / "one"), attention=partial(SAAM, heads=2))
    assert [stage[0].bn2.attention.squeeze.heads for stage in (loaded.layer1, loaded.layer2)] == [2, 2]


@pytest.mark.parametrize("named", [True, False], ids=["made here", "from elsewhere"])
def test_two_functions_are_not_saved(named: bool, tmp_path: Path) -> None:
    model = create_model("resnet8")
    attach(model, SAAM, where="layer1.0.bn2")
    attach(model, cool, where="layer2.0.bn2")
    if not named:
        del model.saam_card
    with pytest.raises(ValueError, match="cannot save attention of two functions, SAAM and cool, because"):
        save(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("saved", "loaded", "error"),
    [
        (SAAM, cool, "was the function SAAM, got cool: pass SAAM as attention="),
        (partial(SAAM, heads=2), partial(SAAM, heads=4), r"heads=2\), got .*heads=4\)"),
        (partial(SAAM, heads=2), partial(SAAM, heads=2), None),
        (partial(cool), partial(cool), None),
    ],
    ids=["another", "another option", "the same", "with an address in its repr"],
)
def test_load_takes_the_function_that_was_saved(saved, loaded, error: str | None, tmp_path: Path) -> None:
    model = create_model("resnet8", attention=saved)
    save(shaken(model), tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(re.sub(" at 0x[0-9a-f]+", " at 0x1", config))  # of another program
    if error is None:
        assert torch.equal(outputs(load(tmp_path, attention=loaded)), outputs(model))
        return
    with pytest.raises(ValueError, match=error):
        load(tmp_path, attention=loaded)


def test_a_function_may_move_into_another_one(tmp_path: Path) -> None:
    def made() -> Callable[[int], nn.Module]:
        def cool(channels: int) -> nn.Module:
            return SAAM(channels, temperature=2.0)

        return cool

    model = create_model("resnet8", attention=made())
    save(shaken(model), tmp_path)
    assert torch.equal(outputs(load(tmp_path, attention=cool)), outputs(model))


@pytest.mark.filterwarnings("ignore")
def test_quantised_weights_are_not_saved(tmp_path: Path) -> None:
    model = create_model("resnet8", attention="saam").eval()
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    with pytest.raises(ValueError, match=r"_packed_params.*' in its state dict is a .*, not a tensor; if the network"):
        save(quantised, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes_stay(dtype: torch.dtype, tmp_path: Path) -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), GlobalContext(8), nn.Conv2d(8, 8, 1))

    model = net()
    upgrade(model)
    attach(model, "saam", where="0")
    model.to(dtype)[1].float()
    loaded = load(save(model, tmp_path), model=net())
    assert {key: value.dtype for key, value in loaded.state_dict().items()} == {
        key: value.dtype for key, value in model.state_dict().items()
    }
    assert len(list(loaded.parameters())) == len(list(model.parameters()))  # what is tied stays tied


def test_buffers_that_are_not_saved_have_the_dtype_of_the_rest(tmp_path: Path) -> None:
    def net() -> nn.Module:
        module = nn.Conv2d(3, 4, 1)
        module.register_buffer("scale", torch.ones(1), persistent=False)
        return module

    assert load(save(net().bfloat16(), tmp_path), model=net()).scale.dtype == torch.bfloat16


def test_functions_have_no_description(tmp_path: Path) -> None:
    model = create_model("resnet8", attention="se")
    upgrade(model, squeeze=lambda channels: nn.Identity())
    with pytest.raises(ValueError, match=r"cannot describe this CifarResNet .*squeezes must be given by name"):
        save(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damaged_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model.safetensors is missing"):
        load(tmp_path / "nowhere")
    save(create_model("resnet8", attention="se"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "config.json").write_text(json.dumps({**config, "surgery": []}))
    with pytest.raises(ValueError, match="do not fit the network that is described there"):
        load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model": None}))
    with pytest.raises(ValueError, match="damaged"):
        load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(weights[:100])
    with pytest.raises(ValueError, match="damaged"):
        load(tmp_path)


def damaged(config: dict, path: str, value: object) -> dict:
    part = config
    *parents, last = path.split(".")
    for name in parents:
        part = part[int(name) if isinstance(part, list) else name]
    part[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("surgery", "x"),
        ("surgery", [1]),
        ("surgery", 3),
        ("surgery.0.site", "conv1"),
        ("surgery.0.site.position", "under"),
        ("surgery.0.site.name", 3),
        ("surgery.0.site.channels", "16"),
        ("surgery.0.options", [1]),
        ("surgery.0.attention", 3),
        ("model.name", 3),
        ("model.num_classes", "10"),
        ("model.options", {"width": "wide"}),
        ("model.options", {"width": -8}),
        ("model", []),
    ],
)
def test_damaged_descriptions(path: str, value: object, tmp_path: Path) -> None:
    folder = save(create_model("resnet8", attention="se"), tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(damaged(config, path, value)))
    with pytest.raises(ValueError, match=r"."):
        load(folder)


def test_deep_nesting(tmp_path: Path) -> None:
    folder = save(create_model("resnet8"), tmp_path)
    (folder / "config.json").write_text('{"model": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(ValueError, match="is damaged"):
        load(folder)


def test_a_failed_save_keeps_the_old_one(tmp_path: Path) -> None:
    model = create_model("resnet8", attention="se")
    save(model, tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    upgrade(model, squeeze=lambda channels: nn.Identity())
    with pytest.raises(ValueError, match="cannot describe"):
        save(model, tmp_path)
    assert (tmp_path / "config.json").read_bytes() == before


def test_rebuild_has_fresh_weights() -> None:
    model = create_model("resnet8", attention="saam", seed=0)
    torch.manual_seed(1)
    other = rebuild(describe(model))
    assert list(other.state_dict()) == list(model.state_dict())
    assert not torch.equal(other.conv1.weight, model.conv1.weight)


@pytest.mark.parametrize("name", ["curves.json", "plan.json", "study.json"])
def test_a_folder_of_a_training_or_a_comparison_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("[]")
    with pytest.raises(ValueError, match="which saving would damage: choose another folder"):
        save(create_model("resnet8", width=8), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
