"""The folder of a page, without a browser."""

import errno
import json

import numpy as np
import pytest
import torch

import saam
from saam.export import OnnxNetwork
from saam.export.page import Sample, build, write_page
from small_networks import SMALL, tiny


@pytest.fixture(autouse=True)
def _small_runtime(monkeypatch):
    monkeypatch.setattr(build, "runtime_files", lambda: {"ort.wasm.min.mjs": b"12", "ort.webgpu.min.mjs": b"123"})


def test_files_of_a_page(tmp_path):
    from PIL import Image

    image = torch.randint(256, (3, 16, 20), dtype=torch.uint8)
    page = write_page(tiny(), tmp_path / "page", samples=[Sample(image, "dog")], title="mine")
    files = {str(file.relative_to(page.folder)): file for file in page.folder.rglob("*") if file.is_file()}
    assert {"index.html", "app.js", "style.css", "model.onnx", "page.json", "samples/0.png", "ort/ort.wasm.min.mjs"} < {
        *files
    }
    assert page.size == sum(file.stat().st_size for file in files.values())
    assert page.first_load == page.size - 3
    described = json.loads(files["page.json"].read_text())
    assert described["title"] == "mine"
    assert described["preprocessing"] == SMALL.to_json()
    assert described["sites"] == ["1", "4"]
    assert described["samples"] == [{"file": "samples/0.png", "label": "dog"}]
    assert described["saam"] == saam.__version__
    assert OnnxNetwork(files["model.onnx"]).inputs == ("image", "sharpness")
    with Image.open(files["samples/0.png"]) as kept:
        assert torch.equal(torch.from_numpy(np.array(kept)).permute(2, 0, 1), image)


def test_a_network_without_scores_has_no_maps(tmp_path):
    page = write_page(tiny("se"), tmp_path / "page")
    assert json.loads((page.folder / "page.json").read_text())["sites"] == []
    assert OnnxNetwork(page.folder / "model.onnx").inputs == ("image",)


@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_is_named_and_nothing_is_left(exists, tmp_path, monkeypatch):
    folder = tmp_path / "page"
    if exists:
        folder.mkdir()
    sample = Sample(torch.zeros(3, 16, 20, dtype=torch.uint8), "dog")

    def full(file):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match=r"cannot write .*page \(No space left on device\): it takes .* MB; free"):
            write_page(tiny(), folder, samples=[sample])
    assert list(tmp_path.rglob("*")) == ([folder] if exists else [])
    assert write_page(tiny(), folder, samples=[sample]).folder == folder


def test_a_folder_that_is_not_empty_is_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not an empty folder: choose another one, or remove it"):
        write_page(tiny(), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_the_tolerance_is_kept(tmp_path):
    with pytest.raises(ValueError, match=r"expected 1e-12 at most: nothing was written; pass a larger tolerance="):
        write_page(tiny(), tmp_path / "page", tolerance=1e-12)
    assert list(tmp_path.iterdir()) == []
