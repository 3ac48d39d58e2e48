"""torchvision's data sets: read where they are, downloaded whole or not at all."""

import gzip
import hashlib
import pickle
import shutil
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import datasets

from saam.data import Images, Splits, load_data, vision

DEBIAN = Path("/usr/share/datasets")
KINDS = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}


def part(splits: Splits, name: str) -> Images:
    found = getattr(splits, name)
    assert isinstance(found, Images)
    return found


def random_rows(count: int, seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where the test's own folder is served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(params=["cifar10", "cifar100"])
def served(request: pytest.FixtureRequest, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small data set in CIFAR's form, for torchvision to download from a file."""
    name = str(request.param)
    kind, key = KINDS[name], "labels" if name == "cifar10" else "fine_labels"
    folder = tmp_path / "made" / kind.base_folder
    folder.mkdir(parents=True)

    def save(file: str, content: dict[str, Any]) -> list[str]:
        (folder / file).write_bytes(pickle.dumps(content))
        return [file, hashlib.md5((folder / file).read_bytes()).hexdigest()]

    train = save("train", {"data": random_rows(40, 0), key: [i % 4 for i in range(40)]})
    test = save("test", {"data": random_rows(8, 1), key: [i % 4 for i in range(8)]})
    meta = save("meta", {kind.meta["key"]: ["a", "b", "c", "d"]})
    with tarfile.open(tmp_path / "made.tar.gz", "w:gz") as archive:
        archive.add(folder, kind.base_folder)
    monkeypatch.setattr(kind, "url", f"{address}made.tar.gz")
    monkeypatch.setattr(kind, "filename", "made.tar.gz")
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5((tmp_path / "made.tar.gz").read_bytes()).hexdigest())
    monkeypatch.setattr(kind, "train_list", [train])
    monkeypatch.setattr(kind, "test_list", [test])
    monkeypatch.setattr(kind, "meta", {"filename": meta[0], "key": kind.meta["key"], "md5": meta[1]})
    return name


def test_cifar_is_downloaded_once_and_divided(served: str, tmp_path: Path) -> None:
    splits = load_data(served, root=tmp_path / "root", validation=0.2)
    assert [path.name for path in (tmp_path / "root").iterdir()] == [KINDS[served].base_folder]
    assert splits.label == {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}[served]
    assert splits.classes == ("a", "b", "c", "d")
    assert torch.equal(part(splits, "test").images, torch.from_numpy(random_rows(8, 1)).view(8, 3, 32, 32))
    assert part(splits, "test").labels.tolist() == [0, 1, 2, 3] * 2
    assert part(splits, "validation").labels.bincount().tolist() == [2, 2, 2, 2]
    rows = {row.tobytes() for row in random_rows(40, 0)}
    train, validation = ({image.numpy().tobytes() for image in part(splits, p).images} for p in ("train", "validation"))
    assert train | validation == rows
    assert len(train) + len(validation) == 40
    (tmp_path / "made.tar.gz").unlink()
    assert load_data(served, root=tmp_path / "root", validation=0.2).fingerprint == splits.fingerprint


def test_a_failed_download_leaves_nothing_behind(served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made.tar.gz").write_bytes(b"half")
    with pytest.raises(ConnectionError, match=r"cannot download CIFAR10+: .*; check the network, or put cifar-10"):
        load_data(served, root=tmp_path / "root")
    monkeypatch.setattr(KINDS[served], "url", "http://127.0.0.1:9/made.tar.gz")  # nobody answers there
    with pytest.raises(ConnectionError, match="cannot download"):
        load_data(served, root=tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []


def test_damaged_files_are_named(served: str, tmp_path: Path) -> None:
    load_data(served, root=tmp_path / "root")
    (tmp_path / "root" / KINDS[served].base_folder / "test").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"cifar-10.* is damaged; delete it, and it is downloaded again"):
        load_data(served, root=tmp_path / "root")


def test_another_process_may_be_first(served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, first = tmp_path / "root", KINDS[served].download

    def download(self: Any) -> None:
        first(self)
        if self.root != str(root):
            shutil.copytree(tmp_path / "made" / self.base_folder, root / self.base_folder)

    monkeypatch.setattr(KINDS[served], "download", download)
    assert len(load_data(served, root=root).test) == 8
    assert [path.name for path in root.iterdir()] == [KINDS[served].base_folder]


def test_the_cache_folder_is_the_usual_root(served: str, own_cache: Path) -> None:
    load_data(served)
    assert (own_cache / KINDS[served].base_folder).is_dir()


def write_idx(folder: Path, *, packed: bool = True) -> dict[str, Tensor]:
    folder.mkdir(parents=True)
    generator, made = torch.Generator().manual_seed(0), {}
    for name, count in (("train", 30), ("t10k", 6)):
        made[f"{name}-images-idx3-ubyte"] = torch.randint(0, 256, (count, 28, 28), generator=generator).byte()
        made[f"{name}-labels-idx1-ubyte"] = torch.randint(0, 10, (count,), generator=generator).byte()
    for file, values in made.items():
        head = bytes([0, 0, 8, values.dim()]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
        content = head + values.numpy().tobytes()
        (folder / (f"{file}.gz" if packed else file)).write_bytes(gzip.compress(content) if packed else content)
    return made


@pytest.mark.parametrize("place", ["", "fashion-mnist", "FashionMNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_is_read_where_it_lies(tmp_path: Path, place: str, packed: bool) -> None:
    made = write_idx(tmp_path / "root" / place, packed=packed)
    splits = load_data("fashion-mnist", root=tmp_path / "root", validation=5)
    test = part(splits, "test")
    for channel in range(3):
        assert torch.equal(test.images[:, channel], made["t10k-images-idx3-ubyte"])
    assert torch.equal(test.labels, made["t10k-labels-idx1-ubyte"].long())
    train, validation = ({i.numpy().tobytes() for i in part(splits, p).images[:, 0]} for p in ("train", "validation"))
    assert train | validation == {image.numpy().tobytes() for image in made["train-images-idx3-ubyte"]}
    assert (len(train), len(validation)) == (25, 5)
    assert splits.classes[0] == "T-shirt/top"


def test_fashion_mnist_is_looked_for_in_the_system_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx(tmp_path / "system" / "fashion-mnist")
    monkeypatch.setattr(vision, "_SYSTEM", tmp_path / "system")
    assert len(load_data("fashion-mnist").test) == 6


@pytest.mark.parametrize("damage", ["half", "magic", "missing", "gzip"])
def test_a_damaged_idx_file_is_named(tmp_path: Path, damage: str) -> None:
    write_idx(tmp_path / "root")
    file = tmp_path / "root" / "t10k-images-idx3-ubyte.gz"
    content = gzip.decompress(file.read_bytes())
    if damage == "missing":
        file.unlink()
    else:
        broken = {"half": content[:3000], "magic": b"\0\0\x0b\3" + content[4:], "gzip": content}[damage]
        file.write_bytes(broken if damage == "gzip" else gzip.compress(broken))
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte \(or .gz\) is damaged or missing: .*; get it again"):
        load_data("fashion-mnist", root=tmp_path / "root")


def test_fashion_mnist_is_downloaded_whole_or_not_at_all(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_idx(tmp_path / "server")
    monkeypatch.setattr(vision, "_SYSTEM", tmp_path / "nowhere")
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [f"{address}server/"])
    resources = [(file.name, hashlib.md5(file.read_bytes()).hexdigest()) for file in (tmp_path / "server").iterdir()]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", [*resources[1:], (resources[0][0], "0")])
    with pytest.raises(ConnectionError, match="cannot download FashionMNIST"):
        load_data("fashion-mnist", root=tmp_path / "root")
    assert list((tmp_path / "root").iterdir()) == []
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    assert len(load_data("fashion-mnist", root=tmp_path / "root").test) == 6


def test_size_resizes_all_splits(tmp_path: Path) -> None:
    made = write_idx(tmp_path / "root")
    splits = load_data("fashion-mnist", root=tmp_path / "root", size=14)
    assert splits.train.shape == splits.test.shape == (14, 14)
    means = made["t10k-images-idx3-ubyte"].float().mean(dim=(1, 2))
    assert torch.allclose(part(splits, "test").images[:, 0].float().mean(dim=(1, 2)), means, atol=4)
    with pytest.raises(ValueError, match="size=65: expected 1 to 64 pixels"):
        load_data("fashion-mnist", root=tmp_path / "root", size=65)


@pytest.mark.skipif(not (DEBIAN / "fashion-mnist").is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_the_real_fashion_mnist() -> None:
    splits = load_data("fashion-mnist", root=DEBIAN, limit=2000)
    assert [len(part(splits, name)) for name in ("train", "validation", "test")] == [2000, 2000, 2000]
    assert part(splits, "test").labels.bincount().tolist() == [200] * 10
    assert splits.mean[0] == pytest.approx(0.286, abs=0.01)
