"""Folders for results where none is named."""

import os
import re

import pytest

from saam.cli.main import main
from saam.cli.outputs import default_out, newest

SETTINGS = ("--data", "photo-digits,train=60,validation=20,test=20", "--model", "resnet8,width=4,stem_stride=4")
COMPARE = ("compare", *SETTINGS, "--workers", "1", "--no-costs")


def test_the_name_says_what_it_is_and_tells_settings_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = default_out("photo-digits", "resnet8", {"a": 1, "b": [2]})
    assert re.fullmatch(r"saam-photo-digits-resnet8-[0-9a-f]{4}", str(first))
    assert default_out("photo-digits", "resnet8", {"b": [2], "a": 1}) == first
    assert default_out("photo-digits", "resnet8", {"a": 1, "b": [3]}) != first


@pytest.mark.parametrize(
    ("data", "model", "name"),
    [
        ("folder:/data/pets", "resnet8", "saam-pets-resnet8-"),
        ("../pets/", "timm:resnet18", "saam-pets-resnet18-"),
        (".", "resnet8", "saam-here-resnet8-"),
        ("hub:stranger/data", "timm:hf-hub:org/net", "saam-data-net-"),
    ],
)
def test_paths_give_their_last_part_so_that_the_folder_lies_here(tmp_path, monkeypatch, data, model, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    out = default_out(data, model, {})
    assert str(out).startswith(name)
    assert len(out.parts) == 1


def test_the_newest_folder_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for age, name in ((30, "a/plan.json"), (10, "b/plan.json"), (20, "c/plan.json"), (5, "d/config.json")):
        file = tmp_path / name
        file.parent.mkdir()
        file.write_text("{}")
        os.utime(file, (1_000_000 - age, 1_000_000 - age))
    assert newest("plan.json").name == "b"
    assert newest("plan.json", "config.json").name == "d"
    with pytest.raises(FileNotFoundError, match="no results in this folder: name the folder that saam compare"):
        newest("other.json")


@pytest.mark.slow
def test_other_arms_and_seeds_go_into_the_same_folder_another_recipe_into_another(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    one = ("--recipe", "quick,epochs=1")
    assert main([*COMPARE, *one, "--arms", "none", "--seeds", "1"]) == 0
    (first,) = tmp_path.iterdir()
    assert re.fullmatch(r"saam-photo-digits-resnet8-[0-9a-f]{4}", first.name)
    assert main([*COMPARE, *one, "--arms", "none", "se", "--seeds", "1", "--focus", "none"]) == 0
    assert len(list((first / "runs").iterdir())) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == [first.name]
    assert main([*COMPARE, "--recipe", "quick,epochs=1,batch_size=30", "--arms", "none", "--seeds", "1"]) == 0
    (second,) = set(tmp_path.iterdir()) - {first}
    capsys.readouterr()
    (second / "report.html").unlink()
    assert main(["report"]) == 0
    assert f"report: {second.name}/report.html" in capsys.readouterr().out
    assert (second / "report.html").is_file()
