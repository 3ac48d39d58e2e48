"""Folders of comparisons from strangers: what their plan.json can ask for."""

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from saam.comparison import Plan, RunRecord, load_comparison, load_model
from saam.comparison.network import build_model
from saam.comparison.plan_data import load_kept_splits
from saam.comparison.plan_file import load_plan, write_plan
from saam.comparison.records import Finished
from saam.comparison.store import write_run
from saam.data import cache_folder, load_kept_data
from saam.report.examples import comparison_strip


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        pytest.fail("a folder reached for the network")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


@pytest.fixture
def folder(make_plan, make_record, tmp_path: Path) -> Path:
    """A comparison of one finished run, with its network."""
    plan: Plan = make_plan(arms=("saam",), seeds=(0,))
    run_id = plan.run_id("saam", 0, fingerprint="x")
    use = {"score_use": {"layer1.0.bn2": {"share": 0.5, "lift": 2.0}}}
    record: RunRecord = make_record("saam", 0, id=run_id, curve=({"epoch": 1, "observed": use},))
    out = tmp_path / "out"
    out.mkdir()
    write_plan(out, plan, classes=10, runs=[run_id], costs="0")
    scores = save({"loss": torch.zeros(1).half(), "accuracy": torch.ones(1).half()})
    write_run(out, Finished(record, save(build_model(plan, "saam", seed=0, classes=10).state_dict()), scores))
    return out


def changed(folder: Path, **fields: Any) -> Path:
    content = json.loads((folder / "plan.json").read_text())
    for name, value in fields.items():
        (content if name in content else content["plan"])[name] = value
    (folder / "plan.json").write_text(json.dumps(content))
    return folder


OVERLAY = {"url": "http://127.0.0.1:9/usercustomize.py"}


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("timm:resnet18", {"pretrained_cfg_overlay": OVERLAY, "cache_dir": "x", "pretrained": True}),
        ("timm:resnet18", {"checkpoint_path": "weights.bin"}),
        ("timm:resnet18", {"pretrained": "yes"}),
        ("timm:hf-hub:stranger/net", {}),
        ("timm:local-dir:/tmp/net", {}),
        ("torchvision:resnet18", {"weights": "DEFAULT"}),
        ("resnet8", {"width": 10**6}),
        ("resnet8", {"attention": "saam"}),
    ],
)
def test_networks_of_a_plan_go_through_the_door(folder: Path, model: str, options: dict[str, Any]) -> None:
    changed(folder, model=model, model_options=options)
    for call in (lambda: load_model(folder, "saam", 0), lambda: load_plan(folder / "plan.json")):
        with pytest.raises(ValueError, match=r"option|expected a name as the network"):
            call()
    with pytest.raises(ValueError, match=r"plan\.json describes no network that can be built"):
        comparison_strip(folder)
    assert sorted(os.listdir(folder)) == ["plan.json", "runs", "scores", "weights"]


def test_published_weights_are_not_fetched_to_be_overwritten(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(folder, model_options={"width": 8, "stem_stride": 2, "pretrained": True})
    assert load_plan(folder).model_options["pretrained"] is True
    assert isinstance(load_model(folder, "saam", 0), torch.nn.Module)  # a resnet8 has no published weights


def test_a_network_far_larger_than_its_weights_is_not_built(folder: Path) -> None:
    changed(folder, model_options={"width": 6_000})
    with pytest.raises(ValueError, match=r"plan\.json .* far larger than its weights"):
        load_model(folder, "saam", 0)


@pytest.mark.parametrize(
    "run_id", ["../../../etc/passwd", "/etc/passwd", "x" * 16, "0123456789abcde", "0123456789ABCDEF", "..", ""]
)
def test_ids_of_runs_name_no_other_place(folder: Path, run_id: str) -> None:
    changed(folder, runs=[run_id])
    with pytest.raises(ValueError, match=r"plan\.json does not hold .* expected the ids of 1 runs"):
        load_comparison(folder)


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ("hub:stranger/data", {"revision": "main"}),
        ("cifar10", {}),
        ("cifar100", {"root": "{place}"}),
        ("fashion-mnist", {"root": "{place}"}),
    ],
)
def test_data_of_a_plan_are_not_fetched(folder: Path, data: str, options: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / "place"
    changed(folder, data=data, data_options={key: value.format(place=place) for key, value in options.items()})
    with pytest.raises((FileNotFoundError, ConnectionError), match=r"cannot get the data set|does not make saam"):
        load_kept_splits(load_comparison(folder).plan)
    assert not place.exists()


def test_generated_data_go_to_the_cache_of_the_user(folder: Path, tmp_path: Path) -> None:
    options = {"train": 20, "validation": 10, "test": 10, "root": str(tmp_path / "place")}
    changed(folder, data_options=options)
    load_kept_splits(load_comparison(folder).plan)
    assert not (tmp_path / "place").exists()
    assert list(cache_folder().glob("photo-digits-*.npz"))


@pytest.mark.parametrize(
    "options",
    [
        {"train": 10**12},
        {"size": 256, "train": 2_000_000},
        {"distractors": 10**6},
        {"workers": 10**5},
        {"digit_size": "a/b"},
        {"cache_dir": "x"},
        {"label": 3},
        {"size": 10**5},
    ],
)
def test_data_of_a_plan_are_bounded(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"option|more than a file may ask for"):
        load_kept_data("photo-digits", **options)


def test_plans_with_many_seeds_or_long_arms_are_refused(folder: Path) -> None:
    changed(folder, arms=["saam," + "x=1," * 500])
    with pytest.raises(ValueError, match="expected an attention with options"):
        load_comparison(folder)
    changed(folder, arms=["saam"], seeds=list(range(10_001)))
    with pytest.raises(ValueError, match="at most 10,000 seeds, got 10,001"):
        load_comparison(folder)
    changed(folder, seeds=[2**63])
    with pytest.raises(ValueError, match=r"seeds must be at most 10\*\*18"):
        load_comparison(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes there")
@pytest.mark.parametrize("name", ["plan.json", "costs.json", "runs/*.json"])
def test_a_pipe_in_the_place_of_a_file_does_not_block(folder: Path, name: str) -> None:
    (folder / "costs.json").write_text('{"id": "0", "costs": []}')
    (file,) = folder.glob(name)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ValueError, match="is not a regular file"):
        load_comparison(folder)
