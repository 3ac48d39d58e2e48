"""Studies: the file and its mistakes, the folders, the run of a small grid, and what its folder gives back."""

import json
import re
import shutil
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import pytest

import saam
from saam.comparison import study_run
from saam.comparison.study import Study, list_studies, load_study
from saam.comparison.study_run import check_networks, run_study, study_results

WHOLE = """
title = "A title"
models = ["resnet8,width=4", "resnet14"]
data = ["cifar10", "cifar100,limit=100"]
arms = ["none", "saam, heads=2", "se"]
seeds = 3
recipe = "demo,epochs=2"
where = "stage"
start = "default"
reference = "se"
focus = "saam,heads=2"
metric = "loss"
spread = 0.5
delta = 1
until_told = true
max_seeds = 9
notes = "Some notes."
"""
SMALL = "resnet8,width=4,stem_stride=2"
DIGITS = "photo-digits,train=60,validation=30,test=30"


def small(**changes):
    values = {"models": ("resnet8",), "data": ("cifar10",), "arms": ("none", "se"), "seeds": 2, "recipe": "demo"}
    return Study(**{**values, **changes})


def test_every_field_is_read_and_reaches_the_plans():
    study = Study.from_toml(WHOLE)
    assert tomllib.loads(WHOLE).keys() == {field.name for field in fields(Study)}
    assert (study.title, study.notes, study.until_told, study.max_seeds) == ("A title", "Some notes.", True, 9)
    plans = study.cells()
    assert list(plans) == ["cifar10-resnet8", "cifar10-resnet14", "cifar100-resnet8", "cifar100-resnet14"]
    plan = plans["cifar100-resnet8"]
    assert (plan.model, plan.model_options, plan.data, plan.data_options) == (
        "resnet8",
        {"width": 4},
        "cifar100",
        {"limit": 100},
    )
    assert (plan.arms, plan.seeds, plan.recipe.epochs) == (("none", "saam,heads=2", "se"), (0, 1, 2), 2)
    assert (plan.where, plan.start, plan.reference, plan.focus) == ("stage", "default", "se", "saam,heads=2")
    assert [(metric.name, metric.spread, metric.delta) for metric in plan.metrics[:1]] == [("loss", 0.5, 1)]
    assert [metric.name for metric in plan.metrics] == ["loss", "accuracy"]


@pytest.mark.parametrize("name", ["models", "data", "arms", "seeds", "recipe"])
def test_a_field_that_is_missing_is_named(name):
    text = "\n".join(line for line in WHOLE.splitlines() if not line.startswith(name))
    needed = "a study needs models, data, arms, seeds, recipe"
    with pytest.raises(ValueError, match=rf"^my\.toml: {name} is missing; {needed}$"):
        Study.from_toml(text, name="my.toml")


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("seeds = 3", "seeds = 0", 6, "seeds must be a whole number, 1 to 10,000, got 0"),
        ("seeds = 3", "seeds = true", 6, "seeds must be a whole number"),
        ("seeds = 3", "seeds = 2.0", 6, "seeds must be a whole number"),
        ("seeds = 3", "sedes = 3", 6, "unknown field 'sedes': did you mean 'seeds'?"),
        ("seeds = 3", "seeds = 3\n[arms2]", 7, "unknown field 'arms2': did you mean 'arms'?"),
        ('"demo,epochs=2"', '"dmeo"', 7, "unknown recipe 'dmeo': did you mean 'demo'?"),
        ('"demo,epochs=2"', '"demo,epoch=2"', 7, "did you mean 'epochs'?"),
        ('"demo,epochs=2"', '"demo,epochs=0"', 7, "epochs"),
        ('"demo,epochs=2"', "3", 7, "recipe must be a text, got 3"),
        ('["cifar10", "cifar100,limit=100"]', '"cifar10"', 4, "data must be a list of one text or more, got 'cifar10'"),
        ('["cifar10", "cifar100,limit=100"]', "[]", 4, "data must be a list of one text or more"),
        ('["cifar10", "cifar100,limit=100"]', '["cifar10",\n "cifar10"]', 5, "data has 'cifar10' twice"),
        ('["cifar10", "cifar100,limit=100"]', '["cifar10",\n "cifar100,limit"]', 5, "expected 'name,option=value,...'"),
        ('"saam, heads=2", "se"]', '\n"saam",\n "sam",\n "se"]', 7, "unknown attention 'sam': did you mean 'saam'"),
        ('"saam, heads=2", "se"]', '\n"saam,heads=2",\n "se", "saam, heads=2"\n]', 7, "arms has 'saam,heads=2' twice"),
        ('"saam, heads=2", "se"]', '\n"saam",\n3,\n "se"]', 7, "arms must be a list of texts, got 3"),
        ('"saam, heads=2", "se"]', '\n# one, "two\n"saam", ""]', 7, "arms must be a list of texts, got ''"),
        ('start = "default"', 'start = "defualt"', 9, "unknown start 'defualt': did you mean 'default'?"),
        ('reference = "se"', 'reference = "ese"', 10, "unknown reference arm 'ese': did you mean 'se'?"),
        ('focus = "saam,heads=2"', 'focus = "saam"', 11, "unknown focus arm 'saam'"),
        ('metric = "loss"', 'metric = "accurcy"', 12, "unknown metric 'accurcy': did you mean 'accuracy'?"),
        ("spread = 0.5", "spread = 0", 13, "spread must be a number above 0, up to 1e9, got 0"),
        ("spread = 0.5", "spread = nan", 13, "spread must be a number above 0"),
        ("delta = 1", 'delta = "1"', 14, "delta must be a number above 0"),
        ("until_told = true", 'until_told = "yes"', 15, "until_told must be true or false, got 'yes'"),
        ("max_seeds = 9", "max_seeds = 2", 16, "max_seeds must be at least the 3 seeds, got 2"),
        ("max_seeds = 9", "max_seeds = 10001", 16, "max_seeds must be a whole number, 1 to 10,000"),
        ('notes = "Some notes."', "notes = 1", 17, "notes must be a text, got 1"),
    ],
)
def test_a_mistake_is_one_line_with_the_file_and_the_line(old, new, line, message):
    assert WHOLE.count(old) == 1
    with pytest.raises(ValueError, match=rf"^my\.toml, line {line}: .*{re.escape(message)}") as caught:
        Study.from_toml(WHOLE.replace(old, new), name="my.toml")
    assert "\n" not in str(caught.value)


def test_what_is_no_toml_is_named_with_its_line(tmp_path):
    with pytest.raises(ValueError, match=r"^my\.toml: .*line 2"):
        Study.from_toml('title = "a"\nmodels = ["resnet8" "resnet14"]', name="my.toml")
    with pytest.raises(ValueError, match=r"^my\.toml, line 3: "):  # tomllib alone says "at end of document"
        Study.from_toml('title = "a"\nmodels = [\n"resnet8",\n', name="my.toml")
    file = tmp_path / "latin.toml"
    file.write_bytes(b'title = "\xe9"')
    with pytest.raises(ValueError, match=r"latin\.toml is no text in UTF-8"):
        load_study(file)


def test_a_study_in_python_is_checked_as_well():
    with pytest.raises(ValueError, match="models must be a list of one text or more, got 'resnet8'"):
        small(models="resnet8")
    assert small(models=["resnet8"]).models == ("resnet8",)


@pytest.mark.parametrize(
    ("data", "models", "names"),
    [
        (["a/pets", "b/pets"], ["resnet8"], ["a-pets-resnet8", "b-pets-resnet8"]),
        (["pets,size=8", "pets,size=16"], ["resnet8"], ["pets-size=8-resnet8", "pets-size=16-resnet8"]),
        (["../my pets/"], ["timm:resnet18,pretrained=true"], ["my-pets-timm-resnet18"]),
        ([".."], ["torchvision:resnet18"], ["data-torchvision-resnet18"]),
        (["x"], ["resnet8,width=(4,8,16)", "resnet8"], ["x-resnet8-width=-4-8-16", "x-resnet8"]),
        (["cifar10"], ["pkg.nets:Net"], ["cifar10-pkg.nets-Net"]),
    ],
)
def test_folders_differ_and_have_plain_names(data, models, names):
    cells = list(small(data=tuple(data), models=tuple(models)).cells())
    assert cells == names
    assert all(re.fullmatch(r"[A-Za-z0-9_=][A-Za-z0-9_.=-]*", name) for name in cells)


def test_two_comparisons_of_one_folder_are_refused():
    with pytest.raises(ValueError, match="kept in a folder 'a-b-c'"):
        small(data=("a-b", "a"), models=("c", "b-c")).cells()


def test_places_are_loaded_instead_and_change_no_name(tmp_path):
    study = small(data=("my-images,size=64", "cifar10"))
    moved = study.cells({"my-images": str(tmp_path)})
    assert list(moved) == list(study.cells())
    assert [plan.data for plan in moved.values()] == [f"folder:{tmp_path}", "cifar10"]
    assert moved["my-images-resnet8"].data_options == {"size": 64}


@pytest.mark.slow
def test_the_studies_of_a_checkout_can_be_loaded_and_their_networks_built():
    files = {file.stem for file in (Path(saam.__file__).parents[2] / "studies").glob("*.toml")}
    assert {"cifar", "demo", "folder"} <= files == set(list_studies())
    for name in files - {"cifar"}:  # which is large; its arms are those of the others and a few more
        check_networks(load_study(name))
    whole = load_study("cifar")
    check_networks(small(models=whole.models[:1], arms=whole.arms))


def test_the_studies_of_an_installed_package_are_inside_it(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "saam"
    (package / "studies").mkdir(parents=True)
    (package / "studies" / "mine.toml").write_text(WHOLE)
    monkeypatch.setattr("saam.comparison.study._PACKAGE", package)
    assert list_studies() == ["mine"]
    assert load_study("mine").title == "A title"


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("dmo", ValueError, "unknown study 'dmo': did you mean 'demo'?"),
        ("../studies/demo", ValueError, "unknown study"),
        ("demp.toml", FileNotFoundError, "there is no file demp.toml: did you mean 'demo'? saam has ablation, cifar"),
    ],
)
def test_a_study_that_is_not_there(name, error, message):
    with pytest.raises(error, match=re.escape(message)):
        load_study(name)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"models": ("resnet8", "resnt20")}, ValueError, "unknown model 'resnt20'"),
        ({"models": ("resnet8", "resnet8,wdith=4")}, TypeError, "wdith"),
        ({"arms": ("none", "saam,heads=3")}, ValueError, "heads"),
        ({"where": "everywhere"}, ValueError, "everywhere"),
    ],
)
def test_networks_are_built_before_the_first_run(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        run_study(small(**changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """Two models, one data set, two arms, one seed."""
    study = Study(
        models=(SMALL, "preresnet8,width=4,stem_stride=2"),
        data=(DIGITS,),
        arms=("none", "se"),
        seeds=1,
        recipe="quick,epochs=1,batch_size=30",
        title="Grid",
    )
    out, told = tmp_path_factory.mktemp("grid") / "out", []

    @contextmanager
    def on_cell(name, plan):
        told.append((name, plan.model))
        yield lambda comparison: told.append((name, len(comparison.records)))
        told.append((name, "end"))

    with ThreadPoolExecutor(1) as executor:
        results = run_study(study, out, executor=executor, on_cell=on_cell)
    return study, out, results, told


def test_a_grid_runs_cell_by_cell_each_in_its_folder(grid):
    study, out, results, told = grid
    names = ["photo-digits-resnet8", "photo-digits-preresnet8"]
    assert list(results) == list(study.cells()) == names
    assert sorted(path.name for path in out.iterdir()) == sorted([*names, "study.json"])
    for result in results.values():
        assert [(record.arm, record.seed) for record in result.records] == [("none", 0), ("se", 0)]
        assert {cost.arm for cost in result.costs} == {"none", "se"}
    cells = [name for name, what in told if what == "end"]
    assert cells == names
    for name in names:
        mine = [what for each, what in told if each == name]
        assert mine[0] in ("resnet8", "preresnet8")
        assert mine[1] == 0
        assert mine[-2:] == [2, "end"]


def test_a_grid_that_is_run_again_runs_nothing(grid):
    study, out, results, _ = grid
    again = []
    with ThreadPoolExecutor(1) as executor:
        assert run_study(study, out, executor=executor, on_record=again.append) == results
    assert again == []


def test_the_folder_of_a_grid_gives_back_the_study_and_its_results(grid, tmp_path):
    study, out, results, _ = grid
    assert study_results(out) == (study, results)
    with pytest.raises(FileNotFoundError, match="holds no study"):
        study_results(tmp_path)
    for content in (
        '{"models": ["resnet8"]}',
        '{"modles": 1}',
        "[]",
        json.dumps({**json.loads((out / "study.json").read_text()), "arms": ["sam"]}),
    ):
        (tmp_path / "study.json").write_text(content)
        with pytest.raises(ValueError, match=r"study\.json does not hold a study"):
            study_results(tmp_path)


def test_a_grid_that_is_stopped_in_its_first_comparison_can_be_reported(grid, tmp_path):
    study, _, results, _ = grid

    def stop(record):
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        run_study(study, tmp_path, executor=executor, workers=1, on_record=stop)
    kept, so_far = study_results(tmp_path)
    assert kept == study
    assert list(so_far) == list(results)[:1]
    assert 0 < len(so_far["photo-digits-resnet8"].records) < 3


def test_a_grid_that_is_refused_writes_no_study(grid, tmp_path):
    study, out, _, _ = grid
    shutil.copytree(out, tmp_path / "out")
    kept = (tmp_path / "out" / "study.json").read_bytes()
    other = replace(study, recipe="quick,epochs=2,batch_size=30")
    with ThreadPoolExecutor(1) as executor, pytest.raises(ValueError, match="another comparison"):
        run_study(other, tmp_path / "out", executor=executor)
    assert (tmp_path / "out" / "study.json").read_bytes() == kept


def test_seeds_are_added_only_until_told_and_the_budget_is_of_the_whole_study(monkeypatch, tmp_path):
    given, clock = [], iter([0.0, 10.0, 50.0, 10.0, 50.0])
    monkeypatch.setattr(study_run, "drive", lambda plan, out, **settings: given.append(settings))
    monkeypatch.setattr(study_run.time, "monotonic", lambda: next(clock))
    run_study(small(models=("resnet8", "resnet14"), until_told=True, max_seeds=5), tmp_path, budget=60.0)
    assert [(settings["max_seeds"], settings["budget"]) for settings in given] == [(5, 50.0), (5, 10.0)]
    given.clear()
    monkeypatch.setattr(study_run.time, "monotonic", lambda: 0.0)
    run_study(small(), tmp_path)
    assert "max_seeds" not in given[0]


def test_a_study_without_any_comparison_says_so(grid, tmp_path):
    (tmp_path / "study.json").write_bytes((grid[1] / "study.json").read_bytes())
    with pytest.raises(FileNotFoundError, match="holds a study, but none of its comparisons"):
        study_results(tmp_path)
