"""``saam explain`` and ``saam profile``: what they refuse."""

import json

import pytest

import saam
from saam.cli.main import main
from saam.models import describe
from saam.training import save_checkpoint


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["explain", "--images", 0], '"0" for --images'),
        (["explain", "--images", -3], '"-3" for --images'),
        (["explain", "--out", "maps.jpg"], '"maps.jpg" for --out. "maps.jpg" must have extension "png"'),
        (["explain", "--out", "maps"], '"maps" for --out'),
        (["explain", "--out", "folder.png"], '"folder.png" for --out'),
        (["profile", "--size", 0], '"0" for --size'),
        (["profile", "--threads", 0], '"0" for --threads'),
        (["profile", "--batch-size", -1], '"-1" for --batch-size'),
    ],
)
def test_values_out_of_range_name_the_option(arguments, option, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert f"Invalid value {option}" in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("data", [None, "photo-digits", {"name": "photo-digits"}])
def test_a_network_that_does_not_say_its_data_is_refused(data, tmp_path, capsys):
    network = saam.create_model("resnet8", attention="saam", width=8)
    save_checkpoint(tmp_path, network, describe(network) | ({} if data is None else {"data": data}))
    assert run("explain", tmp_path) == 1
    assert f"{tmp_path / 'config.json'} does not say on what data the network was trained" in capsys.readouterr().err


def test_the_picture_gets_its_folder_or_an_error_that_names_it(tmp_path, capsys):
    network = saam.create_model("resnet8", attention="saam", width=8, stem_stride=2)
    data = {"name": "photo-digits", "options": {"train": 120, "validation": 40, "test": 60}}
    save_checkpoint(tmp_path / "net", network, json.loads(json.dumps(describe(network))) | {"data": data})
    (tmp_path / "file").touch()
    assert run("explain", tmp_path / "net", "--images", 2, "--out", tmp_path / "file" / "maps.png") == 1
    assert f"cannot write to {tmp_path / 'file'} " in capsys.readouterr().err
    assert run("explain", tmp_path / "net", "--images", 2, "--out", tmp_path / "new" / "maps.PNG") == 0
    assert (tmp_path / "new" / "maps.PNG").read_bytes().startswith(b"\x89PNG")
