"""Networks and attentions of the user's own, with real worker processes; and folders that name code."""

import dataclasses
import importlib
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

import saam
import user_code
from saam.cli.main import main
from saam.comparison import load_comparison, load_model
from saam.comparison.store import read_values
from saam.report import write_report
from saam.training import Recipe

DATA = "photo-digits,train=120,validation=50,test=60"
SETTINGS = {"recipe": Recipe(epochs=1, batch_size=40), "where": "conv", "seeds": 1}
LOSS = saam.Metric("loss", "lower", spread=0.1, delta=0.05)


@pytest.fixture
def here():
    """A worker that takes no time to start, where the process does not matter."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A comparison of own network and own attention, and its folder."""
    out = tmp_path_factory.mktemp("own")
    return saam.compare(user_code.net, DATA, arms={"mine": user_code.Mine, "se": "se"}, out=out, **SETTINGS), out


def test_a_network_and_an_attention_of_the_users_own(done):
    comparison, out = done
    assert [(record.arm, record.model) for record in comparison.records] == [
        ("mine", "user_code:net"),
        ("se", "user_code:net"),
    ]
    assert comparison.failures == ()
    assert [cost.arm for cost in comparison.costs] == ["none", "mine", "se"]
    assert (comparison.plan.reference, comparison.plan.focus) == ("mine", "mine")
    assert load_comparison(out) == comparison
    assert {len(values) for values in read_values(out, comparison.records[0].id).values()} == {60}
    write_report(out / "report.html", comparison)  # a label of the user's own is no name of an attention
    assert "user_code:net on photo-digits" in (out / "report.html").read_text()


def test_a_class_gets_its_name_as_a_label(tmp_path):
    plan = saam.comparison.TaskPlan(
        task=user_code.task, arms=("none", user_code.Mine, "user_code:Mine,scale=2"), seeds=(0,), metrics=(LOSS,)
    )
    assert plan.arms == ("none", "Mine", "Mine,scale=2")
    assert plan.arm("Mine,scale=2").options == {"scale": 2}
    assert plan.focus == "Mine"
    again = dataclasses.replace(plan, focus="user_code:Mine,scale=2")
    assert again.focus == "Mine,scale=2"
    assert saam.comparison.TaskPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_the_same_name_in_two_files_stays_whole(tmp_path, monkeypatch):
    (tmp_path / "other_code.py").write_text("class Mine:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    arms = ("user_code:Mine", "other_code:Mine")
    plan = saam.comparison.TaskPlan(task=user_code.task, arms=arms, seeds=(0,), metrics=(LOSS,))
    assert plan.arms == arms


def test_another_label_for_a_kept_arm_is_refused(done):
    with pytest.raises(ValueError, match=r"has the arm 'user_code:Mine' as 'mine': give it that label, not 'ours'"):
        saam.compare(user_code.net, DATA, arms={"ours": user_code.Mine, "se": "se"}, out=done[1], **SETTINGS)
    assert load_comparison(done[1]) == done[0]


def test_what_worker_processes_cannot_import_is_refused(tmp_path):
    class Local(user_code.Mine):
        pass

    for what in ({"model": lambda num_classes: None}, {"arms": (Local,)}, {"arms": {"x": lambda channels: None}}):
        settings = {"arms": ("se",), **SETTINGS, **what}
        with pytest.raises(ValueError, match=r"worker processes cannot import .*: define it as a class or function"):
            saam.compare(settings.pop("model", user_code.net), DATA, out=tmp_path / "out", **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_is_told_to_use_a_file():
    code = "import saam\ndef task(arm, seed, context): pass\n"
    code += "saam.compare(task, metrics=[saam.Metric('x', 'lower', spread=1.0, delta=1.0)], out='out')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "not in a function, a lambda or a notebook" in done.stderr


def test_a_change_of_the_code_is_another_comparison_and_named(here, tmp_path, monkeypatch):
    """The runs that were made with the old code stay, and are not taken for runs of the new."""
    file = tmp_path / "changing.py"
    monkeypatch.syspath_prepend(tmp_path)
    source = "import user_code\nclass Own(user_code.Mine):\n    factor = 1\ndef task(arm, seed, context):\n"
    source += "    return {'loss': 1.0 + seed}\n"
    file.write_text(source)
    changing = importlib.import_module("changing")
    settings = {
        "arms": ("none", "changing:Own"),
        "seeds": 1,
        "metrics": [LOSS],
        "out": tmp_path / "out",
        "executor": here,
    }
    first = saam.compare(changing.task, **settings)
    before = {path: path.read_bytes() for path in settings["out"].rglob("*") if path.is_file()}
    for old, new, named in (
        ("factor = 1", "factor = 22", "the code of changing:Own"),
        ("1.0 + seed", "2.0 + seed", "the code of changing:task or the version of saam or torch"),
    ):
        file.write_text(source.replace(old, new))
        importlib.reload(changing)
        message = (
            f"{settings['out']} holds another comparison (the function changing:task, arms none, Own; it differs in "
            f"{named}): choose another --out or remove it"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            saam.compare(changing.task, **settings)
        assert {path: path.read_bytes() for path in settings["out"].rglob("*") if path.is_file()} == before
    file.write_text(source)
    importlib.reload(changing)
    assert saam.compare(changing.task, **settings) == first


def test_the_command_line_takes_code_from_the_folder_where_it_runs(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "nets.py").write_text("from user_code import Mine, Net\nclass Other(Mine):\n    pass\n")
    command = [sys.executable, "-m", "saam", "compare", "--data", DATA, "--model", "user_code:Net,width=4"]
    command += ["--arms", "none", "parts.nets:Other", "--where", "conv", "--seeds", "1", "--no-costs"]
    command += ["--recipe", "demo,epochs=1,batch_size=40", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=_environment())
    assert done.returncode == 0, done.stderr
    assert "Other" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "parts.nets:Other" in page  # in the command that makes it again
    comparison = load_comparison(tmp_path / "out")
    assert [record.arm for record in comparison.records] == ["none", "Other"]
    wrong = [*command[:7], "user_code:Nat", *command[8:]]
    done = subprocess.run(wrong, cwd=tmp_path, capture_output=True, text=True, check=False, env=_environment())
    assert (done.returncode, done.stderr) == (1, "saam: cannot import 'user_code:Nat': user_code has no Nat\n")


def test_own_networks_are_not_loaded_from_a_folder(done):
    with pytest.raises(ValueError, match=r"the file names code, which is not imported: user_code:net, user_code:Mine"):
        load_model(done[1], "mine", 0)


@pytest.mark.parametrize("place", ["model", "arms", "aliases", "task"])
def test_code_that_a_folder_names_is_never_imported(done, here, tmp_path, monkeypatch, place, capsys):
    """A module that leaves a mark when it is imported, named in plan.json as network, as arm or as task."""
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').close()\nMine = net = task = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "out"
    kept = done[1]
    if place == "task":
        kept = tmp_path / "kept"
        saam.compare(user_code.draws, arms=("none", user_code.Mine), seeds=1, metrics=[_DRAWN], out=kept, executor=here)
    out.mkdir()
    for path in kept.rglob("*"):
        if path.is_file():
            target = out / path.relative_to(kept)
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    content = json.loads((out / "plan.json").read_text())
    plan = content["plan"]
    plan |= {
        "model": {"model": "trap:net"},
        "task": {"task": "trap:task"},
        "aliases": {"aliases": dict.fromkeys(plan["aliases"], "trap:Mine")},
        "arms": {"aliases": {}, "arms": [arm if arm in ("none", "se") else "trap:Mine" for arm in plan["arms"]]},
    }[place]
    if place == "arms":
        plan |= {name: "trap:Mine" for name in ("reference", "focus") if plan[name] in ("mine", "Mine")}
    (out / "plan.json").write_text(json.dumps(content))
    for call in (
        lambda: load_comparison(out),
        lambda: load_model(out, plan["arms"][0], 0),
        lambda: main(["report", str(out)]),
        lambda: main(["explain", str(out), "--out", str(tmp_path / "maps.png")]),
        lambda: main(["compare", "--plan", str(out / "plan.json"), "--out", str(tmp_path / "new")]),
        lambda: saam.compare(user_code.net, DATA, arms=("se",), out=out, executor=here, **SETTINGS),
        lambda: saam.compare(user_code.draws, arms=("none",), seeds=1, metrics=[_DRAWN], out=out, executor=here),
    ):
        with suppress(ValueError, FileNotFoundError):
            call()
        assert "trap" not in sys.modules
    assert not (tmp_path / "sprung").exists()
    assert "Traceback" not in capsys.readouterr().err
    importlib.import_module("trap")  # the trap works
    assert (tmp_path / "sprung").exists()
    del sys.modules["trap"]


_DRAWN = saam.Metric("torch", "higher", spread=1.0, delta=0.1)


def _environment():
    import os
    from pathlib import Path

    paths = [str(Path(user_code.__file__).parent), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
