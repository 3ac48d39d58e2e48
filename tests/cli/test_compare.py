"""``saam compare`` and ``saam report``: what they say first, what they refuse, and reports without pictures."""

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from saam._core.devices import best_device
from saam.cli.compare import _default_out
from saam.cli.main import main
from saam.cli.screen import _news
from saam.comparison import Comparison, Plan, driver, job, plan_data
from saam.comparison.records import FailureRecord
from saam.training import create_recipe

SETTINGS = ("--model", "resnet8,width=8,stem_stride=2", "--recipe", "demo,epochs=1", "--workers", "1")
ARMS = ("--arms", "none", "saam")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with 60 images of noise in two classes, and a comparison on them."""
    place = tmp_path_factory.mktemp("place")
    generator = torch.Generator().manual_seed(0)
    for index in range(60):
        folder = place / "pets" / ("cats", "dogs")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(pixels.numpy()).save(folder / f"{index}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main(["compare", "--data", "pets", *SETTINGS, *ARMS, "--seeds", "1", "--out", "cmp"]) == 0
    return place


@pytest.fixture
def copy(place, tmp_path):
    """The comparison, in a place of its own; the data stay where they are."""
    shutil.copytree(place / "cmp", tmp_path / "cmp")
    return tmp_path / "cmp"


def test_the_sizes_of_the_data_come_first_and_few_test_images_are_warned_of(place, copy, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["compare", "--data", "pets", *SETTINGS, *ARMS, "--seeds", "1", "--out", str(copy)]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "pets: 48 training images, 6 validation images, 6 test images, 2 classes"
    assert second == "6 test images: each weighs 16.7 points of accuracy; take 100 or more."


def test_a_report_is_made_from_any_directory(place, copy, monkeypatch, capsys):
    monkeypatch.chdir(copy / "runs")
    assert main(["report", ".."]) == 0
    assert "No arm is clearly better than guessing" in capsys.readouterr().out
    page = (copy / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "<h1>No arm is clearly better than guessing" in page


def lose_the_data(place, copy):
    (place / "pets").rename(place / "moved")


def lose_the_weights(place, copy):
    shutil.rmtree(copy / "weights")


def damage_the_weights(place, copy):
    for file in (copy / "weights").iterdir():
        file.write_bytes(b"damaged")


@pytest.mark.parametrize(
    ("command", "lose", "reason"),
    [
        ("report", lose_the_data, "pets"),
        ("report", lose_the_weights, "is gone; to train it again delete"),
        ("report", damage_the_weights, "does not hold the weights of"),
        ("compare", lose_the_weights, "is gone; to train it again delete"),
    ],
)
def test_what_the_pictures_need_may_be_lost(place, copy, capsys, command, lose, reason):
    plan_data._load.cache_clear()
    (copy / "report.html").unlink()
    lose(place, copy)
    arguments = ["report", copy] if command == "report" else ["compare", "--plan", copy / "plan.json", "--out", copy]
    try:
        assert main([str(argument) for argument in arguments]) == 0
    finally:
        if lose is lose_the_data:
            (place / "moved").rename(place / "pets")
    captured = capsys.readouterr()
    (note,) = [line for line in captured.out.splitlines() if line.startswith("No pictures of score maps: ")]
    assert reason in note
    assert captured.err == ""
    page = (copy / "report.html").read_text()
    assert "No pictures of score maps: " in page
    assert "data:image/png;base64," not in page


def test_another_comparison_is_refused(place, copy, monkeypatch, capsys):
    monkeypatch.chdir(place)
    before = {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()}
    other = ["compare", "--data", "pets", *SETTINGS, "--arms", "none", "se", "--where", "stage", "--out", str(copy)]
    assert main(other) == 1
    error = capsys.readouterr().err
    assert f"{copy} holds another comparison (resnet8 on folder:{place / 'pets'}, arms none, saam; " in error
    assert "choose another --out or remove it" in error
    assert {file: file.read_bytes() for file in copy.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    "wrong",
    [
        ("--arms", "none", "sam"),
        ("--arms", "none", "saam,heads=3"),
        ("--model", "resnt20"),
        ("--where", "everywhere"),
        ("--recipe", "demo,epochs=0"),
        ("--recipe", "demo,augmentation=crp"),
        ("--data", "photo-digit"),
        ("--seeds", "-1"),
    ],
)
def test_a_mistake_leaves_no_folder(place, tmp_path, monkeypatch, capsys, wrong):
    monkeypatch.chdir(place)
    given = {"--data": ("pets",), "--model": SETTINGS[1:2], "--arms": ARMS[1:], wrong[0]: wrong[1:]}
    words = [word for name, values in given.items() for word in (name, *values)]
    assert main(["compare", *words, "--out", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("saam: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seeds", [0, -1])
def test_a_number_of_seeds_that_is_none_is_named(tmp_path, capsys, seeds):
    assert main(["compare", "--seeds", str(seeds), "--out", str(tmp_path / "out")]) == 1
    assert f"needs seeds: expected a number of 1 or more, got {seeds}" in capsys.readouterr().err


@pytest.fixture
def called(monkeypatch):
    """What the command hands to the comparison, which ends there."""
    calls = []

    def compare(plan, out, **settings):
        calls.append((plan, out, settings))
        raise KeyboardInterrupt

    monkeypatch.setattr("saam.cli.compare.compare", compare)
    return calls


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), {"device": None, "costs": True, "retry": False, "workers": None, "threads": 1}),
        (("--no-costs", "--retry", "--workers", "3", "--threads", "2"), {"costs": False, "retry": True, "workers": 3}),
        (("--device", "cuda:0", "cuda:1"), {"device": ["cuda:0", "cuda:1"]}),
        (("--device", "cuda:0", "cuda:1", "--jobs-per-device", "2"), {"device": ["cuda:0"] * 2 + ["cuda:1"] * 2}),
        (("--jobs-per-device", "3"), {"device": [str(best_device())] * 3}),
    ],
)
def test_settings_reach_the_comparison(called, tmp_path, arguments, expected):
    assert main(["compare", *arguments, "--out", str(tmp_path / "out")]) == 130
    ((_, out, settings),) = called
    assert out == tmp_path / "out"
    assert {name: settings[name] for name in expected} == expected


@pytest.mark.parametrize(("seeds", "expected"), [((), (0,)), (("--seeds", "3"), (0, 1, 2))])
def test_a_plan_is_taken_up_with_its_seeds_or_others(called, copy, seeds, expected):
    assert main(["compare", "--plan", str(copy / "plan.json"), *seeds, "--out", str(copy)]) == 130
    plan = called[0][0]
    assert plan.seeds == expected
    assert (plan.arms, plan.recipe.epochs) == (("none", "saam"), 1)


def test_a_run_that_failed_is_told_and_retried(place, copy, monkeypatch, capsys):
    monkeypatch.chdir(place)
    genuine = job.run

    def run(plan, arm, seed, **options):
        if seed == 1 and arm == "saam":
            raise FloatingPointError("the training loss became nan")
        return genuine(plan, arm, seed, **options)

    monkeypatch.setattr(job, "run", run)
    monkeypatch.setattr(driver, "Processes", ThreadPoolExecutor)
    command = ["compare", "--data", "pets", *SETTINGS, *ARMS, "--seeds", "2", "--no-costs", "--out", str(copy)]
    assert main(command) == 1
    printed = capsys.readouterr().out
    assert "saam, seed 1: failed, FloatingPointError: the training loss became nan" in printed
    assert len(list((copy / "failures").iterdir())) == 1
    monkeypatch.setattr(job, "run", genuine)
    assert main(command) == 1
    assert len(list((copy / "runs").iterdir())) == 3
    assert main([*command, "--retry"]) == 0
    assert len(list((copy / "runs").iterdir())) == 4
    assert not list((copy / "failures").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--address", "auto"], "--address auto is for a Ray cluster: add --executor ray"),
        (
            ["--executor", "ray", "--device", "cuda:0"],
            "expected one device without a number, since Ray assigns the GPUs",
        ),
    ],
)
def test_settings_of_executors_that_do_not_go_together(arguments, message, tmp_path, capsys):
    assert main(["compare", "--out", str(tmp_path / "out"), *arguments]) == 1
    assert capsys.readouterr().err.startswith(f"saam: {message}")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_what_it_takes_and_runs_nothing(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(place)
    out = tmp_path / "dry"
    words = ["compare", "--data", "pets", *SETTINGS, *ARMS, "--seeds", "6", "--out", str(out), "--dry-run"]
    assert main([*words, "--until-told", "--max-seeds", "9"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"dry\s+12\s+\d+ s\s+[\d.]+ [kM]B\s+[\d.]+ [kM]B\s+\d\.\d\d points", printed)
    assert "At least: seeds are added until the arms are told, up to 9." in printed
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["dry"]["runs"] == 12
    few = [word if word != "6" else "5" for word in words]
    assert main(few) == 0
    assert "none below 6 seeds" in capsys.readouterr().out
    assert not out.exists()


def test_a_dry_run_leaves_out_what_is_finished_and_refuses_what_a_run_would(place, copy, monkeypatch, capsys):
    monkeypatch.chdir(place)
    before = sorted((file, file.stat().st_mtime_ns) for file in copy.rglob("*"))
    words = ["compare", "--data", "pets", *SETTINGS, *ARMS, "--seeds", "6", "--out", str(copy), "--dry-run", "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)[copy.name]["runs"] == 10
    assert main([*words, "--where", "stage"]) == 1
    assert "holds another comparison" in capsys.readouterr().err
    assert sorted((file, file.stat().st_mtime_ns) for file in copy.rglob("*")) == before


def test_data_that_moved_are_found_again(place, copy, tmp_path, monkeypatch, capsys):
    shutil.copytree(place / "pets", tmp_path / "moved" / "pets")
    monkeypatch.chdir(tmp_path)
    words = ["compare", "--data", "moved/pets", *SETTINGS, *ARMS, "--seeds", "1", "--out", str(copy)]
    assert main(words) == 0
    assert "resumed: 2 of 2 runs, " in capsys.readouterr().out
    assert json.loads((copy / "plan.json").read_text())["plan"]["data"] == f"folder:{tmp_path / 'moved' / 'pets'}"


def test_a_finished_comparison_says_so_and_that_costs_are_measured(place, copy, monkeypatch, capsys):
    monkeypatch.chdir(place)
    (copy / "costs.json").unlink()
    words = ["compare", "--data", "pets", *SETTINGS, *ARMS, "--seeds", "1", "--out", str(copy)]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("resumed: 2 of 2 runs, ")
    assert lines[2].endswith("; measuring costs ...")
    assert main(words) == 0
    assert "measuring" not in capsys.readouterr().out


def test_a_report_as_text_for_a_document(place, copy, capsys):
    assert main(["report", str(copy), "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("arm,seeds,planned,failed,accuracy_mean")
    assert main(["report", str(copy), "--format", "markdown"]) == 0
    assert capsys.readouterr().out.startswith("| arm | seeds | accuracy (%) |")
    assert main(["report", str(copy), "--format", "docx"]) == 2


def test_damaged_scores_by_image_cost_their_sections_only(place, copy, monkeypatch, capsys):
    monkeypatch.chdir(place)
    scores = next((copy / "scores").iterdir())
    scores.write_bytes(b"damaged")
    assert main(["report", str(copy)]) == 0
    assert f"No scores by image: {scores}" in " ".join(capsys.readouterr().out.split())
    assert '<section id="classes">' not in (copy / "report.html").read_text()


def test_the_folder_is_the_same_for_all_arms_of_a_setting(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    made = Plan(recipe=create_recipe("demo"), arms=("none", "se"), seeds=(0,))
    mine = replace(made, arms=("none", "se", "user_code:Mine"))
    assert _default_out(mine) == _default_out(made)
    assert _default_out(replace(made, recipe=create_recipe("demo", epochs=2))) != _default_out(made)


def test_a_plan_has_its_delta_already(copy, capsys):
    assert main(["compare", "--plan", str(copy), "--delta", "1", "--out", str(copy)]) == 1
    assert "--delta is part of the plan" in capsys.readouterr().err


def test_each_failure_is_told_once():
    failed = [FailureRecord(str(seed), "se", seed, f"error {seed}", "", {}, "") for seed in range(2)]
    now = Comparison(
        Plan(recipe=create_recipe("demo"), arms=("none", "se"), seeds=(0, 1)), (), (), failures=tuple(failed)
    )
    before = replace(now, failures=(failed[1],))  # seed 1 failed first
    assert [*_news(before, now, "line", first=False)] == ["se, seed 0: failed, error 0", "line"]


def test_profile_takes_networks_and_attentions_of_the_user(capsys):
    words = ["profile", "--model", "user_code:Net,width=4", "--where", "conv", "--arms", "user_code:Mine"]
    words += ["--size", "8", "--batch-size", "2", "--json"]
    for classes, more in ((10, []), (3, ["--classes", "3"])):
        assert main([*words, *more]) == 0
        costs = json.loads(capsys.readouterr().out)["costs"]
        assert [(cost["arm"], cost["parameters"]) for cost in costs] == [
            ("none", 144 + 5 * classes),
            ("Mine", 164 + 5 * classes),
        ]


def test_profile_takes_heads_and_refuses_controls(capsys):
    words = ["profile", "--model", "resnet8,width=8", "--size", "8", "--batch-size", "2", "--arms"]
    assert main([*words, "none,head=score", "--json"]) == 0
    costs = {cost["arm"]: cost["parameters"] for cost in json.loads(capsys.readouterr().out)["costs"]}
    assert costs["none,head=score"] == costs["none"] + 32
    words[2] += ",num_classes=5"
    assert main([*words, "saam,heads=2,scorer=pixel", "saam,scorer=pixel,heads=2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["costs"]
    assert [cost["arm"] for cost in found] == ["none", "saam,heads=2,scorer=pixel"]
    assert found[0]["parameters"] == costs["none"] - 5 * 33
    assert main([*words, "wider"]) == 1
    assert "'wider' is a control of a comparison" in capsys.readouterr().err
