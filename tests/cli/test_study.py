"""``saam study``: the forecast, a tiny grid from start to report, places, failures; and --json of all commands."""

import json
import re
import sys
from math import inf
from types import ModuleType

import pytest

from saam.cli import study as command
from saam.cli.main import main
from saam.comparison import load_comparison
from saam.report.study import study_view

FILE = """
title = "Tiny <b>grid</b>"
models = ["resnet8,width=4,stem_stride=2"]
data = ["photo-digits,train=60,validation=30,test=30"]
arms = ["none", "se"]
seeds = 1
recipe = "quick,epochs=1,batch_size=30"
"""
NAME = "photo-digits-resnet8"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a study, and its results."""
    place = tmp_path_factory.mktemp("place")
    (place / "tiny.toml").write_text(FILE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert main(["study", "tiny.toml", "--workers", "1"]) == 0
    return place


def test_the_results_are_named_after_the_file_and_have_a_page_that_leads_to_each(place):
    out = place / "saam-tiny"
    assert sorted(path.name for path in out.iterdir()) == [NAME, "report.html", "study.json"]
    page = (out / "report.html").read_text()
    assert "Tiny &lt;b&gt;grid&lt;/b&gt;" in page
    assert "<b>grid" not in page
    links = re.findall(r'href="([^"]+\.html)"', page)
    assert links
    assert all((out / link).is_file() for link in links)


def test_a_study_that_is_finished_runs_nothing_and_is_shown_again(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    records = {file: file.stat().st_mtime_ns for file in place.rglob("runs/*")}
    assert len(records) == 2
    assert main(["study", "tiny.toml", "--out", "saam-tiny", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert f"{NAME}: none, se" in printed
    assert "2 of 2 runs" in printed
    found = study_view({NAME: load_comparison(place / "saam-tiny" / NAME)}).finding
    assert re.search(r"the best average rank, [\d.]+ of 2 arms, in a single comparison$", found)
    assert found in " ".join(printed.split())
    assert "report: saam-tiny/report.html" in printed
    assert records == {file: file.stat().st_mtime_ns for file in place.rglob("runs/*")}


def test_saam_report_takes_the_folder_of_a_study(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    (place / "saam-tiny" / "report.html").unlink()
    assert main(["report", "saam-tiny"]) == 0
    assert (place / "saam-tiny" / "report.html").is_file()
    assert "best average rank" in " ".join(capsys.readouterr().out.split())
    monkeypatch.chdir(place / "saam-tiny")
    assert main(["report"]) == 0


@pytest.mark.parametrize("columns", ["80", "120"])
def test_a_dry_run_says_what_it_takes_and_runs_nothing(place, tmp_path, monkeypatch, capsys, columns):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", columns)
    models = FILE.replace('models = ["', 'models = ["preresnet8,width=4,stem_stride=2", "').replace(
        "seeds = 1", "seeds = 6"
    )
    (tmp_path / "two.toml").write_text(models + "until_told = true\n")
    assert main(["study", "two.toml", "--dry-run", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed.splitlines()[2]
    assert re.search(rf"{NAME}\s+12\s+\d+ s\s+[\d.]+ [kM]B\s+[\d.]+ [kM]B\s+\d\.\d\d points", printed)
    assert re.search(r"all\s+24\s", printed)
    assert "At least: seeds are added until the arms are told, up to 40." in printed
    assert [path.name for path in tmp_path.iterdir()] == ["two.toml"]


def test_a_dry_run_as_json_has_positive_numbers_and_counts_the_runs_that_are_left(place, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(place)
    assert main(["study", "tiny.toml", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[NAME]["runs"] == 0
    assert main(["study", "tiny.toml", "--dry-run", "--json", "--out", str(tmp_path / "new")]) == 0
    told = json.loads(capsys.readouterr().out)[NAME]
    assert told.pop("difference") is None  # a single seed
    assert told["runs"] == 2
    assert all(value > 0 for value in told.values())


def test_settings_reach_the_runs(place, tmp_path, monkeypatch):
    given = {}

    def run_study(study, out, **settings):
        given.update(settings, study=study, out=out)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_study", run_study)
    monkeypatch.chdir(tmp_path)
    words = ["--data", f"my-images={tmp_path}", "--budget", "90m", "--device", "cpu", "--jobs-per-device", "2"]
    assert main(["study", "folder", *words, "--retry", "--no-costs", "--track", "wandb", "mlflow"]) == 130
    assert given["places"] == {"my-images": str(tmp_path)}
    assert given["budget"] == 5400
    assert given["device"] == ["cpu", "cpu"]
    assert (given["retry"], given["costs"], given["track"]) == (True, False, ("wandb", "mlflow"))
    assert str(given["out"]) == "saam-folder"
    given.clear()
    assert main(["study", "demo", "--jobs-per-device", "3"]) == 130
    assert len(given["device"]) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("dmo",), "unknown study 'dmo': did you mean 'demo'"),
        (("demp.toml",), "there is no file demp.toml"),
        (("demo", "--data", "cifar10=x"), "--data cifar10=...: the study has no such data set, only photo-digits"),
        (("demo", "--data", "cifar10"), "expected NAME=PATH for --data, got 'cifar10'"),
        (("folder", "--budget", "soon"), "expected a time such as 90s, 45m, 2h or 1d, got 'soon'"),
        (("demo", "--budget", "2h"), "--budget limits the seeds that are added until told: this study has a fixed"),
        (("demo", "--track", "wanb"), "unknown tracker 'wanb': did you mean 'wandb'"),
        (("wrong.toml",), "wrong.toml, line 5: unknown attention 'sam': did you mean 'saam'"),
    ],
)
def test_mistakes_are_one_line(place, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.toml").write_text(FILE.replace('"se"', '"sam"'))
    assert main(["study", *words]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("saam: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.toml"]


def test_failures_are_shown(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.toml").write_text(FILE.replace("batch_size=30", "batch_size=30,learning_rate=1e30"))
    monkeypatch.chdir(tmp_path)
    assert main(["study", "bad.toml", "--workers", "1", "--no-costs"]) == 1
    printed = capsys.readouterr().out
    assert "none, seed 0: failed, FloatingPointError" in printed
    page = (tmp_path / "saam-bad" / "report.html").read_text()
    assert f"{NAME}: all 2 runs failed" in page or "2 of 2 runs failed" in page
    assert "No comparison has a run of every arm yet" in page


def document(capsys, *words):
    """Run a command with --json; standard output is one document, and errors are none."""
    assert main([str(word) for word in (*words, "--json")]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err


def test_a_comparison_as_json(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    plan = place / "saam-tiny" / NAME
    told, progress = document(capsys, "compare", "--plan", plan / "plan.json", "--out", plan, "--workers", 1)
    assert "2 of 2 runs" in progress
    again, _ = document(capsys, "report", plan)
    assert told == again
    assert (told["finished"], told["planned"], told["failures"]) == (2, 2, [])
    assert told["plan"]["arms"] == ["none", "se"] == [arm["arm"] for arm in told["arms"]]
    score = told["arms"][1]["scores"]["accuracy"]
    assert score["n"] == 1
    assert score["sd"] is None
    assert 0 <= score["mean"] <= 100
    assert told["arms"][1]["cost"]["train_step_ratio"] > 0
    (difference,) = told["differences"]["accuracy"]
    assert (difference["arm"], difference["reference"], difference["n"]) == ("se", "none", 1)
    assert difference["verdict"] == "cannot tell yet"
    assert difference["e"] <= 1
    assert difference["interval"] == [None, None]
    assert difference["values"].keys() == {"0"}


def test_a_study_as_json(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    told, _ = document(capsys, "study", "tiny.toml", "--workers", 1)
    again, _ = document(capsys, "report", "saam-tiny")
    assert told == again
    assert told["study"]["arms"] == ["none", "se"]
    assert told["comparisons"].keys() == {NAME}
    assert {arm["arm"] for arm in told["arms"]} == {"none", "se"}


@pytest.mark.parametrize(
    ("kind", "name", "keys"),
    [
        ("attentions", "saam", {"description", "paper", "placement", "parameters", "squeeze", "arxiv"}),
        ("squeezes", "mean+max", {"description"}),
        ("data", "photo-digits", {"description", "options"}),
        ("models", "resnet20", set()),
        ("recipes", "demo", {"description"}),
    ],
)
def test_lists_as_json(capsys, kind, name, keys):
    told, errors = document(capsys, "list", kind)
    assert errors == ""
    (found,) = [entry for entry in told if entry["name"] == name]
    assert found.keys() == {"name", *keys}


def test_costs_as_json(capsys):
    words = ("--model", "resnet8,width=4,stem_stride=2", "--arms", "se", "--batch-size", 4)
    told, errors = document(capsys, "profile", *words)
    assert errors == ""
    assert [cost["arm"] for cost in told["costs"]] == ["none", "se"]
    assert told["costs"][1]["parameters"] > told["costs"][0]["parameters"]


def test_compare_until_told(monkeypatch, tmp_path):
    given = {}

    def compare(plan, out, **settings):
        given.update(settings, plan=plan)
        raise KeyboardInterrupt

    monkeypatch.setattr("saam.cli.compare.compare", compare)
    words = ["compare", "--out", str(tmp_path), "--max-seeds", "9", "--budget", "2h", "--delta", "0.25"]
    assert main([*words, "--until-told", "--track", "tensorboard"]) == 130
    assert (given["max_seeds"], given["budget"], given["track"]) == (9, 7200, ("tensorboard",))
    assert given["plan"].metrics[0].delta == 0.25
    assert main(words[:3]) == 130
    assert (given["max_seeds"], given["budget"]) == (None, inf)
    assert main([*words[:3], "--until-told"]) == 130
    assert given["max_seeds"] == 40


@pytest.mark.parametrize("words", [["--max-seeds", "9"], ["--budget", "2h"]])
def test_limits_of_added_seeds_need_until_told(tmp_path, capsys, words):
    assert main(["compare", "--out", str(tmp_path / "out"), *words]) == 1
    assert f"saam: {words[0]} limits the seeds that --until-told adds: add --until-told" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_largest_number_of_seeds_is_not_below_their_number(tmp_path, capsys):
    words = ["compare", "--out", str(tmp_path / "out"), "--seeds", "5", "--until-told", "--max-seeds", "3"]
    assert main(words) == 1
    assert "saam: --max-seeds must be at least the number of seeds, 5, got 3" in capsys.readouterr().err


def test_compare_tracks(place, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert main(["compare", "--track", "mlflow", "--out", str(tmp_path / "out")]) == 1
    assert "tracking with mlflow needs a package: pip install mlflow" in capsys.readouterr().err


def test_train_tracks_each_epoch_and_the_test(tmp_path, monkeypatch, capsys):
    told = []

    class Log:
        key = "key"

        def __init__(self, run):
            told.append((run.name, run.group, run.config["seed"], run.config["recipe"]["epochs"]))

        def log(self, numbers, epoch):
            told.append((epoch, numbers["train_loss"] > 0))

        def finish(self, numbers, epoch, *, failed):
            told.append((sorted(numbers), failed))

        def close(self):
            pass

    from saam.training import tracking

    monkeypatch.setitem(sys.modules, "wandb", ModuleType("wandb"))
    monkeypatch.setitem(tracking._LOGS, "wandb", Log)
    words = ["--data", "photo-digits,train=60,validation=30,test=30", "--model", "resnet8,width=4,stem_stride=2"]
    words += ["--recipe", "quick,epochs=2,batch_size=30", "--attention", "se", "--out", str(tmp_path / "out")]
    assert main(["train", *words, "--track", "wandb"]) == 0
    assert told == [
        ("se seed 0", "se", 0, 2),
        (1, True),
        (2, True),
        (["test/accuracy", "test/calibration", "test/count", "test/loss", "test/top5"], False),
    ]


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("45m", 2700), ("2h", 7200), ("1d", 86400), (" 1.5h ", 5400)]
)
def test_seconds(text, expected):
    from saam.cli.numbers import seconds

    assert seconds(text) == expected
    for wrong in ("", "5", "h", "-1h", "0s", "infh", "nanh", "2 hours"):
        with pytest.raises(ValueError, match=r"expected a time"):
            seconds(wrong)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("compare", "--lr", "0.1"), "It is part of the recipe, as in --recipe demo,learning_rate=..."),
        (("compare", "--epochs=3"), "as in --recipe demo,epochs=..."),
        (("train", "--weight-decay", "0"), "as in --recipe demo,weight_decay=..."),
        (("train", "--arms", "se"), "saam train takes one as --attention saam"),
        (("compare", "--attention", "se"), "saam compare takes attentions as --arms none se saam"),
        (("compare", "--nothing-like-it", "1"), "Unknown option"),
    ],
)
def test_an_option_that_stands_elsewhere_is_pointed_at(words, expected, capsys):
    assert main(list(words)) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert ("Did you mean" in error) is False or "recipe" not in error


@pytest.mark.parametrize("words", [("study", "demo"), ("compare",), ("report",)])
def test_ctrl_c_says_what_goes_on(words, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    for name in ("saam.cli.study.run_study", "saam.cli.compare.compare", "saam.cli.report.newest"):
        monkeypatch.setattr(name, stop)
    assert main(list(words)) == 130
    kept = "" if words[0] == "report" else "; run the same command again to resume after the last finished epoch"
    assert capsys.readouterr().err == f"saam: stopped{kept}\n"
