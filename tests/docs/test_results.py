"""The pages of results are what the records beside them say."""

import json
import runpy
from pathlib import Path

import pytest

from saam.comparison.study import Study
from saam.comparison.study_run import run_study

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def results():
    return runpy.run_path(str(DOCS / "results.py"))


def test_pages_are_up_to_date(results):
    for path, text in results["pages"]().items():
        assert path.read_text() == text, f"{path.name} differs from its records; run: python docs/results.py"


def name(arm, seed):
    return f"{len(arm)}{seed}".rjust(16, "0")


def record(arm, seed, loss, use):
    observed = {"score_use": {"a": {"share": use[0], "lift": use[1]}, "b": {"share": 1.0, "lift": 1.0}}} if use else {}
    scores = {"accuracy": 50.0 + seed, "loss": loss, "count": 10}
    return {
        "id": name(arm, seed),
        "arm": arm,
        "model": "resnet14",
        "model_options": {},
        "data": "made",
        "data_options": {},
        "recipe": {"epochs": 1, "batch_size": 8, "learning_rate": 0.1, "schedule": "cosine", "weight_decay": 0.0},
        "where": "residual",
        "start": "identity",
        "seed": seed,
        "test": {"accuracy": 0.0, "loss": 99.0, "count": 10},
        "validation": scores,
        "curve": [{"epoch": 1, "train_loss": loss - 0.5, "observed": observed}],
        "parameters": 1,
        "seconds": 900.0,
        "environment": {"torch": "2.0", "cpu": "a processor"},
        "finished": "",
    }


def test_table_worked_by_hand(results, tmp_path):
    """saam is .1 and .3 below se in its two seeds: .2 on average, standard error .1; the third seed has no pair."""
    runs = [
        record("se", 0, 2.0, None),
        record("se", 1, 2.2, None),
        record("saam", 0, 1.9, (0.5, 3.0)),
        record("saam", 1, 1.9, (0.7, 5.0)),
        record("saam", 2, 1.6, (0.9, 7.0)),
    ]
    folder = tmp_path / "trial" / "1-first"
    folder.mkdir(parents=True)
    for run in runs:
        (folder / f"{run['id']}.json").write_text(json.dumps(run))
    (tmp_path / "trial.txt").write_text("# Trial\n\n{tables}\n")
    page = results["page"](tmp_path / "trial.txt")
    assert "## First\n" in page
    assert (
        "resnet14, made: 1 epochs, batches of 8, learning rate 0.1 (cosine), weight decay 0, attention started" in page
    )
    assert "as identity. 5 runs, 1.2 hours of one busy core each, torch 2.0 on a processor." in page
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert rows == [
        "| `saam` | 3 | 1.300 | 1.800 | \N{MINUS SIGN}0.200 ± 0.100 | 51.0 | 0.70 1.00 | 5.0 |",
        "| `se` | 2 | 1.600 | 2.100 |  | 50.5 |  |  |",
    ]


def test_the_page_of_a_study_is_made_from_its_records_without_paths(results, tmp_path, monkeypatch):
    options = "train=120,validation=50,test=60"
    study = Study(
        models=("resnet8,width=8,stem_stride=2",),
        data=(f"photo-digits,{options}",),
        arms=("none", "saam"),
        seeds=1,
        recipe="quick,epochs=1",
    )
    run_study(study, tmp_path / "ran", workers=1, costs=False)
    (cell,) = study.cells()
    plan = tmp_path / "ran" / cell / "plan.json"
    content = json.loads(plan.read_text())
    plan.write_text(json.dumps({**content, "plan": {**content["plan"], "data": "parquet:/somewhere/else"}}))
    monkeypatch.setitem(results["take"].__globals__, "FOLDER", tmp_path)
    results["take"](tmp_path / "ran", "tiny")
    assert "somewhere" not in "".join(file.read_text() for file in (tmp_path / "tiny").rglob("*.json"))
    assert not list((tmp_path / "tiny").rglob("*.safetensors"))
    (tmp_path / "tiny.txt").write_text("# Tiny\n\nWords.\n\n{tables}\n")
    page = results["page"](tmp_path / "tiny.txt")
    assert f"## {cell}\n\nresnet8 on photo-digits: 1 epochs" in page
    assert "1 seed an arm, 2 runs" in page
    accuracy = [
        run["test"]["accuracy"]
        for run in map(json.loads, map(Path.read_text, (tmp_path / "tiny").rglob("runs/*.json")))
    ]
    rows = [line for line in page.splitlines() if line.startswith(("| none", "| saam"))]
    assert sorted(float(row.split("|")[3].split()[0]) for row in rows) == pytest.approx(sorted(accuracy), abs=0.01)
    assert "- saam vs no attention: cannot tell yet" in page
