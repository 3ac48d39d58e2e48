"""``saam explain``, and what ``saam profile`` refuses."""

import json
import re

import pytest
from PIL import Image

import saam
from saam.cli.main import main
from saam.cli.screen import screen
from saam.cli.trust import _show
from saam.models import Preprocessing, describe
from saam.training import save_checkpoint

PREPROCESSING = Preprocessing(size=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3, classes=tuple("0123456789"))


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["explain", "--images", 0], '"0" for --images'),
        (["explain", "--images", -3], '"-3" for --images'),
        (
            ["explain", "--out", "maps.jpg"],
            '"maps.jpg" for --out. "maps.jpg" does not match one of',
        ),
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
def test_a_network_that_does_not_say_its_data_needs_images(data, tmp_path, capsys):
    network = saam.create_model("resnet8", attention="saam", width=8)
    network.preprocessing = PREPROCESSING
    save_checkpoint(tmp_path / "net", network, describe(network) | ({} if data is None else {"data": data}))
    assert run("explain", tmp_path / "net") == 1
    err = capsys.readouterr().err
    assert "does not say on what data the network was trained: pass --data NAME" in err
    assert "images of your own, --image" in err
    Image.new("L", (50, 20), 90).save(tmp_path / "grey.png")
    assert run("explain", tmp_path / "net", "--image", tmp_path / "grey.png", "--out", tmp_path / "maps.png") == 0
    assert f"picture: {tmp_path / 'maps.png'}" in capsys.readouterr().out


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The folder of a network that says what data it was trained on."""
    monkeypatch.chdir(tmp_path)
    network = saam.create_model("resnet8", attention="saam", width=8, stem_stride=2)
    data = {"name": "photo-digits", "options": {"train": 120, "validation": 40, "test": 60}}
    return save_checkpoint(tmp_path / "net", network, json.loads(json.dumps(describe(network))) | {"data": data})


def test_the_picture_gets_its_folder_or_an_error_that_names_it(trained, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run("explain", trained, "--images", 2, "--out", tmp_path / "file" / "maps.png") == 1
    assert f"cannot write to {tmp_path / 'file'} " in capsys.readouterr().err
    assert run("explain", trained, "--images", 2, "--out", tmp_path / "new" / "maps.PNG") == 0
    assert (tmp_path / "new" / "maps.PNG").read_bytes().startswith(b"\x89PNG")


def test_the_default_name_is_that_of_the_run_and_foreign_files_are_kept(trained, tmp_path, capsys):
    for _ in range(2):  # what saam explain wrote it may write again
        assert run("explain", trained, "--images", 1) == 0
        assert "picture: explain-net.png" in capsys.readouterr().out
    (tmp_path / "explain-net.png").write_bytes(b"another picture")
    assert run("explain", trained, "--images", 1) == 1
    assert "explain-net.png exists, and saam explain did not write it" in capsys.readouterr().err
    assert (tmp_path / "explain-net.png").read_bytes() == b"another picture"


def test_photographs_stand_before_test_images_on_the_page(trained, tmp_path, capsys):
    Image.new("RGBA", (90, 70), (10, 200, 30, 128)).save(tmp_path / "mine.png")
    assert run("explain", trained, "--image", tmp_path / "mine.png", "--images", 2, "--out", "maps.html") == 0
    titles = re.findall("<h2>([^:<]*)", (tmp_path / "maps.html").read_text())
    assert titles[0] == "mine.png"
    assert [title.rpartition(" ")[0] for title in titles[1:3]] == ["test image", "test image"]
    assert "page: maps.html" in capsys.readouterr().out


def test_other_data_give_test_images_and_measures(tmp_path, capsys):
    network = saam.create_model("resnet8", attention="saam", width=8, stem_stride=2)
    network.preprocessing = PREPROCESSING
    folder, data = saam.save(network, tmp_path / "net"), "photo-digits,train=120,validation=40,test=60"
    assert run("explain", folder, "--data", data, "--images", 2, "--out", tmp_path / "maps.html") == 0
    assert "weight on the object, in times that of mean pooling" in capsys.readouterr().out
    assert (tmp_path / "maps.html").read_text().count("<h2>test image ") == 2
    assert run("explain", folder, "--data", data, "--measure", "--images", 3) == 0
    assert "net: 3 test images, seed 0\n" in capsys.readouterr().out
    assert run("explain", folder, "--data", f"{data},size=40") == 1
    assert "expected data like those of net, with 10 classes" in capsys.readouterr().err


def test_measures_are_a_table_and_a_record(trained, tmp_path, capsys):
    assert run("explain", trained, "--measure", "--images", 3, "--out", "trust.json") == 0
    printed = capsys.readouterr().out
    assert "net: 3 test images, seed 0\n" in printed
    assert re.search(r"scores, last site +[01].\d\d ±", printed)
    record = json.loads((tmp_path / "trust.json").read_text())
    assert record["made by"] == "saam explain"
    assert {row["measure"] for row in record["rows"]} >= {"pointing game", "ROAD", "weights shuffled"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ["--measure", "--heads"],
            "--measure takes test images and writes .json: leave out --image, --sites and --heads",
        ),
        (["--measure", "--out", "a.png"], "--measure takes test images and writes .json"),
        (["--measure", "--images", 1], "--measure compares images, so it takes two or more: pass --images 2"),
        (["--out", "a.json"], "expected --out with .png or .html; .json is for --measure"),
        (["--images", 1, "--sites", "layer9"], "unknown site 'layer9'"),
        (["--image", "gone.jpg"], "no image at gone.jpg"),
        (["--arm", "se"], "holds one network, not a comparison: leave out arm and seed"),
    ],
)
def test_what_does_not_go_together_is_named(arguments, error, trained, capsys):
    assert run("explain", trained, *arguments) == 1
    captured = capsys.readouterr()
    assert error in captured.err
    assert captured.err.count("\n") == 1


def test_a_file_of_a_folder_that_cannot_be_read_gets_a_line(trained, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (50, 20), "red").save(folder / "red.png")
    (folder / "bad.png").write_text("hello")
    assert run("explain", trained, "--image", folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"skipped: cannot read the image {folder / 'bad.png'}: it has no format that Pillow knows" in lines
    assert run("explain", trained, "--image", folder, folder / "bad.png") == 1
    assert "cannot read the image" in capsys.readouterr().err


def test_a_network_without_a_feature_map_is_measured_without_grad_cam(capsys):
    row = {"measure": "ROAD", "method": "integrated gradients", "value": [0.5, 0.4, 0.6], "over": {}, "verdict": ""}
    _show(screen(), {"run": "net", "images": 9, "seeds": [3, 4], "rows": [row]})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "net: 9 test images, seeds 3, 4"
    assert lines[1].startswith("There is no Grad-CAM")
    _show(screen(), {"run": "net", "images": 9, "seeds": [3], "rows": [row, {**row, "method": "Grad-CAM"}]})
    assert "There is no Grad-CAM" not in capsys.readouterr().out
