"""``saam export`` and ``saam page``: what they write, print and refuse."""

import json

import pytest

import saam
from saam.cli.main import main
from saam.export import OnnxNetwork
from saam.export.page import build
from saam.models import Preprocessing, describe
from saam.training import save_checkpoint

DATA = {"train": 80, "validation": 40, "test": 60}


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder like that of saam train."""
    folder = tmp_path_factory.mktemp("runs") / "net"
    network = saam.create_model("resnet8", attention="saam", width=4, stem_stride=2, seed=0)
    network.preprocessing = Preprocessing((32, 32), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), tuple("0123456789"))
    save_checkpoint(folder, network, describe(network) | {"data": {"name": "photo-digits", "options": DATA}})
    return folder


def run(*arguments):
    return main([str(argument) for argument in arguments])


def test_onnx_with_maps(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("export", trained, "--maps") == 0
    out = capsys.readouterr().out
    assert "largest difference of the logits from PyTorch's: " in out
    assert "any batch, height, width" in out
    assert "saved: net.onnx" in out
    assert OnnxNetwork("net.onnx").names == ("logits", "layer1.0.bn2", "layer2.0.bn2", "layer3.0.bn2")
    assert run("export", trained) == 1
    assert capsys.readouterr().err == "saam: net.onnx exists: choose another file, or remove it\n"


def test_int8_prints_both_accuracies(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("export", trained, "--int8") == 0
    out = capsys.readouterr().out
    assert "test, float32: " in out
    assert "test, int8: " in out
    assert " % of 60 images" in out
    assert (tmp_path / "net.int8.onnx").is_file()


@pytest.mark.parametrize(("form", "suffix"), [("torch-export", "pt2"), ("safetensors", "safetensors")])
def test_other_formats(trained, tmp_path, form, suffix):
    assert run("export", trained, "--format", form, "--out", tmp_path / "new" / f"x.{suffix}") == 0
    assert [file.name for file in (tmp_path / "new").iterdir()] == [f"x.{suffix}"]


def test_the_ending_of_the_file_says_the_format(trained, tmp_path, capsys):
    from safetensors.torch import load_file

    assert run("export", trained, "--out", tmp_path / "x.safetensors") == 0
    assert load_file(tmp_path / "x.safetensors")
    assert run("export", trained, "--out", tmp_path / "x.pt2", "--format", "onnx") == 1
    assert "x.pt2 does not fit --format onnx" in capsys.readouterr().err
    assert run("export", trained, "--out", tmp_path / "x.bin") == 1
    assert "x.bin does not say the format: expected a name that ends in .onnx, .pt2, .safetensors" in (
        capsys.readouterr().err
    )
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "safetensors", "--maps"], "--maps adds outputs, and safetensors holds weights only"),
        (["--format", "torch-export", "--int8"], "--int8 quantises ONNX files: expected --format onnx"),
        (["--arm", "saam"], "holds one network, not a comparison"),
    ],
)
def test_what_export_refuses(trained, arguments, message, capsys):
    assert run("export", trained, *arguments) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_without_preprocessing_it_says_what_to_pass(tmp_path, capsys):
    saam.save(saam.create_model("resnet8", width=4), tmp_path / "own")
    assert run("export", tmp_path / "own", "--out", tmp_path / "x.onnx") == 1
    assert "pass --data NAME, the data set that it was trained on" in capsys.readouterr().err
    assert not (tmp_path / "x.onnx").exists()


@pytest.fixture
def _no_runtime(monkeypatch):
    monkeypatch.setattr(build, "runtime_files", lambda: {"ort.wasm.min.mjs": b"12"})


@pytest.mark.usefixtures("_no_runtime")
def test_a_page_with_samples_is_served(trained, tmp_path, capsys, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr("saam.cli.page._wait", stop)
    assert run("page", trained, "--out", tmp_path / "page", "--samples", 4, "--serve", "--port", 0) == 0
    out = capsys.readouterr().out
    assert f"page: {tmp_path / 'page'} (" in out.replace("\n", "")
    assert "serving http://localhost:" in out
    page = json.loads((tmp_path / "page" / "page.json").read_text())
    assert [sample["label"] for sample in page["samples"]] == ["0", "1", "2", "3"]
    assert page["title"] == "net"
    assert run("page", trained, "--out", tmp_path / "page") == 1
    assert "is not an empty folder" in capsys.readouterr().err
    model = tmp_path / "page" / "model.onnx"
    before = model.stat().st_mtime_ns
    assert run("page", trained, "--out", tmp_path / "page", "--serve", "--port", 0) == 0
    assert "holds a page, which is served as it is" in capsys.readouterr().out
    assert model.stat().st_mtime_ns == before


@pytest.mark.usefixtures("_no_runtime")
def test_a_page_without_data_has_no_samples(tmp_path, capsys):
    network = saam.create_model("resnet8", width=4, seed=0)
    network.preprocessing = Preprocessing((32, 32), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), tuple("0123456789"))
    saam.save(network, tmp_path / "own")
    assert run("page", tmp_path / "own", "--out", tmp_path / "page") == 0
    out = capsys.readouterr().out
    assert "no sample images: " in out
    assert "python -m http.server --directory" in out
    assert json.loads((tmp_path / "page" / "page.json").read_text())["samples"] == []
