"""``saam train``: what it says, what it refuses, and that it goes on where it was stopped."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import saam
from saam.cli import train
from saam.cli.main import main

MODEL = ("--model", "resnet8,width=8,stem_stride=2")
DIGITS = ("--data", "photo-digits,train=120,validation=40,test=100")
# Python's own handler, whatever this process was started with
COMMAND = "import signal, sys; signal.signal(2, signal.default_int_handler); from saam.cli.main import main; {}"


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Two folders of images, ``pets`` and ``more``, with two classes of twenty images each."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(3)
    for name in ("pets/cat", "pets/dog", "more/cat", "more/dog"):
        (folder / name).mkdir(parents=True)
        for index in range(20):
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / name / f"{index}.png")
    return folder


def interrupted(out, *arguments):
    """Run a command in a process of its own, press Ctrl-C after the first epoch, and give exit code and errors."""
    with subprocess.Popen(
        [sys.executable, "-c", COMMAND.format("sys.exit(main(sys.argv[1:]))"), *map(str, arguments), "--out", str(out)],
        env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            for line in process.stdout:
                if line.startswith("epoch 1/"):
                    process.send_signal(2)
                    break
            return process.wait(60), process.stderr.read()
        finally:
            process.kill()


@pytest.mark.slow
def test_ctrl_c_stops_and_the_same_command_goes_on(pets, tmp_path, capsys, monkeypatch):
    out, recipe = tmp_path / "out", ("--recipe", "quick,epochs=40,batch_size=16")
    monkeypatch.chdir(pets)
    command = ("train", "--data", "pets", *MODEL, *recipe)
    code, errors = interrupted(out, *command)
    assert code == 130
    assert errors == "saam: stopped; run the same command again to resume after the last finished epoch\n"
    assert [file.name for file in out.iterdir()] == ["state.pt"]

    others = {
        "data": ("--data", "more", *MODEL, *recipe),
        "model": ("--data", "pets", "--model", "resnet8,width=4", *recipe),
        "recipe": ("--data", "pets", *MODEL, "--recipe", "quick,epochs=40,batch_size=17"),
        "surgery": ("--data", "pets", *MODEL, *recipe, "--attention", "se"),
        "seed": ("--data", "pets", *MODEL, *recipe, "--seed", "1"),
    }
    for differs, other in others.items():
        assert run("train", *other, "--out", out) == 1
        assert f"state.pt holds the state of another run, which differs in {differs}: " in capsys.readouterr().err

    monkeypatch.chdir(pets / "more")  # another directory, another way to name the same folder
    assert run("train", "--data", "../pets", *MODEL, *recipe, "--out", out) == 0
    epochs = re.findall(r"epoch (\d+)/40", capsys.readouterr().out)
    assert epochs == [str(epoch) for epoch in range(int(epochs[0]), 41)]
    assert int(epochs[0]) > 1
    assert json.loads((out / "config.json").read_text())["data"]["name"] == f"folder:{pets / 'pets'}"
    assert len(json.loads((out / "curves.json").read_text())) == 40

    monkeypatch.chdir(tmp_path)  # explain finds the data from anywhere, and says why there are no score maps
    assert run("explain", out, "--images", "2") == 0
    assert "score" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_shows_before_training(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run("train", *DIGITS, *MODEL, "--recipe", "quick,epochs=1", "--out", tmp_path / "file" / "out") == 1
    said = capsys.readouterr()
    assert f"cannot write to {tmp_path / 'file'}" in said.err
    assert "epoch" not in said.out


def test_a_finished_training_is_not_overwritten_by_another(pets, tmp_path, capsys, monkeypatch):
    out, command = tmp_path / "out", ("train", "--data", pets / "pets", *MODEL, "--recipe", "quick,epochs=1")
    assert run(*command, "--out", out) == 0
    files = {file.name: file.read_bytes() for file in out.iterdir()}
    capsys.readouterr()
    for other in (("--seed", 1), ("--attention", "se"), ("--seed", 1, "--again")):
        assert run(*command, *other, "--out", out) == 1
        error = capsys.readouterr().err
        assert (
            error == f"saam: {out} holds a finished training with other settings: choose another --out or remove it\n"
        )
    (out / "curves.json").unlink()
    assert files.keys() - {file.name for file in out.iterdir()} == {"curves.json"}
    with monkeypatch.context() as patch:
        patch.setattr(train, "writable", lambda folder: pytest.fail("it may be in a folder that cannot be written"))
        assert run(*command, "--out", out) == 0
    assert capsys.readouterr().out == f"{out} holds this training, finished; --again trains it again\n"
    assert files.keys() - {file.name for file in out.iterdir()} == {"curves.json"}
    assert run(*command, "--out", out, "--again") == 0
    assert "epoch 1/1" in capsys.readouterr().out
    assert {file.name for file in out.iterdir()} == files.keys()
    assert (out / "model.safetensors").read_bytes() == files["model.safetensors"]
    for content in ("", "[]", "{}"):
        (out / "config.json").write_text(content)
        assert run(*command, "--out", out) == 1


@pytest.mark.parametrize(("file", "what"), [("plan.json", "comparison"), ("study.json", "study")])
def test_the_folder_of_a_comparison_is_refused(pets, tmp_path, capsys, file, what):
    (tmp_path / file).write_text("{}")
    assert run("train", "--data", pets / "pets", *MODEL, "--out", tmp_path) == 1
    assert capsys.readouterr().err == f"saam: {tmp_path} holds a {what}: choose another --out\n"
    assert [entry.name for entry in tmp_path.iterdir()] == [file]


def test_it_says_how_many_images_there_are(pets, tmp_path, capsys):
    assert run("train", "--data", pets / "pets", *MODEL, "--recipe", "quick,epochs=1", "--out", tmp_path / "a") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("pets: 32 training images, 4 validation images, 4 test images, 2 classes\n4 test images")
    assert "25" in printed.splitlines()[1]
    assert run("train", *DIGITS, *MODEL, "--recipe", "quick,epochs=1", "--out", tmp_path / "b") == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("epoch 1/1")  # a hundred are no reason to warn


def test_a_pretrained_network_gets_the_colours_of_its_weights(pets, tmp_path, monkeypatch):
    """Published weights are feigned."""
    timm = pytest.importorskip("timm")
    original = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: original(name, **options))
    words = ("train", "--data", f"{pets / 'pets'},size=64", "--recipe", "quick,epochs=1", "--model", "timm:test_resnet")
    for name, more, published in (("tuned", ["--pretrained"], True), ("new", [], False)):
        assert run(*words, *more, "--out", tmp_path / name) == 0
        assert (saam.load(tmp_path / name).preprocessing.mean == (0.5, 0.5, 0.5)) is published


def test_it_says_when_nothing_was_learned(tmp_path, capsys):
    for name, grey in (("dark", 60), ("light", 200)):
        (tmp_path / "grey" / name).mkdir(parents=True)
        for index in range(80):
            Image.new("RGB", (16, 16), (grey + index % 40,) * 3).save(tmp_path / "grey" / name / f"{index}.png")
    data, recipe = ("--data", f"{tmp_path / 'grey'},test=0.5"), "demo,epochs=8,batch_size=10"
    assert run("train", *data, *MODEL, "--recipe", recipe, "--out", tmp_path / "learned") == 0
    assert "guessing" not in capsys.readouterr().out
    assert run("train", *data, *MODEL, "--recipe", f"{recipe},learning_rate=1e-9", "--out", tmp_path / "not") == 0
    assert "not clearly better than guessing, 50.00 %" in capsys.readouterr().out


def test_every_epoch_says_how_much_the_scores_are_used(tmp_path, capsys):
    recipe = ("--recipe", "quick,epochs=2,batch_size=16")
    sharp = ("--attention", "saam,temperature=0.05", "--start", "default")
    assert run("train", *DIGITS, *MODEL, *recipe, *sharp, "--out", tmp_path / "saam") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    curve = json.loads((tmp_path / "saam" / "curves.json").read_text())
    assert len(lines) == len(curve) == 2
    for line, epoch in zip(lines, curve, strict=True):
        shares = [use["share"] for use in epoch["observed"]["score_use"].values()]
        assert len(shares) == 3
        ends = sorted({f"{share:.2f}".removeprefix("0") for share in (min(shares), max(shares))})
        assert re.search(rf" s  attention changes maps by [.\d]+( to [.\d]+)?  scores {' to '.join(ends)}$", line)
    assert min(shares) < 1

    assert run("train", *DIGITS, *MODEL, *recipe, "--attention", "se", "--out", tmp_path / "se") == 0
    assert "scores" not in capsys.readouterr().out
    for epoch in json.loads((tmp_path / "se" / "curves.json").read_text()):
        assert epoch["observed"].keys() == {"gate_use"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data", "PETS,size=abc"], "data: size must be a whole number, got 'abc'"),
        (["--data", "PETS,limit=abc"], "data: limit must be a whole number, got 'abc'"),
        (["--data", "PETS,validation=nan"], "data: validation must be a number, got 'nan'"),
        (["--data", "PETS,skip_corrupt=yes"], "data: skip_corrupt must be true or false, got 'yes'"),
        (["--data", "photo-digits,digit_size=(1,2,3)"], "digit_size=(1, 2, 3): expected two whole numbers"),
        (["--data", "nothere"], "there is neither a folder 'nothere' here nor a data set of that name"),
        (["--data", "PETS", "--device", "meta"], "device 'meta' cannot be used here"),
        (["--data", "PETS", "--model", "resnt8"], "unknown model 'resnt8'"),
        (["--data", "PETS", "--recipe", "quick,precision=fp16", "--device", "cpu"], "precision 'fp16' needs a GPU"),
        (["--data", "PETS", "--recipe", "quick,augmentation=('crp',)"], "unknown augmentation 'crp'"),
    ],
)
def test_what_is_wrong_leaves_no_folder_behind(arguments, expected, pets, tmp_path, capsys):
    arguments = [argument.replace("PETS", str(pets / "pets")) for argument in arguments]
    assert run("train", *arguments, "--out", tmp_path / "new" / "out") == 1
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", ["-1", "99999999999999999999999"])
def test_a_seed_out_of_range_names_the_option(seed, tmp_path, capsys):
    assert run("train", "--seed", seed, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert re.search(r"Invalid value .*for --seed", error)
    assert seed in error
    assert not list(tmp_path.iterdir())


def test_true_and_false_are_values(pets, tmp_path, capsys):
    (tmp_path / "pets").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).symlink_to(pets / "pets" / name)
    data = f"{tmp_path / 'pets'},skip_corrupt=true,size=16"
    assert (
        run("train", "--data", data, *MODEL, "--recipe", "quick,epochs=1,nesterov=false", "--out", tmp_path / "o") == 0
    )
    settings = json.loads((tmp_path / "o" / "config.json").read_text())
    assert settings["data"]["options"] == {"skip_corrupt": True, "size": 16}
    assert settings["recipe"]["nesterov"] is False


def test_the_start_and_the_head_make_another_training(pets, tmp_path, capsys):
    out, command = tmp_path / "out", ("train", "--data", pets / "pets", *MODEL, "--recipe", "quick,epochs=1")
    assert run(*command, "--attention", "se", "--out", out) == 0
    for other in (("--attention", "se", "--start", "default"), ("--attention", "se,head=score")):
        assert run(*command, *other, "--out", out) == 1
        assert "holds a finished training with other settings" in capsys.readouterr().err


def test_threads_are_as_asked_and_set_back(pets, tmp_path, monkeypatch):
    seen, before = [], torch.get_num_threads()
    fit = train.fit
    monkeypatch.setattr(train, "fit", lambda *a, **k: seen.append(torch.get_num_threads()) or fit(*a, **k))
    command = ("train", "--data", pets / "pets", *MODEL, "--recipe", "quick,epochs=1")
    assert run(*command, "--threads", before + 1, "--out", tmp_path / "out") == 0
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


def test_trainings_without_a_folder_get_one_each(pets, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ("train", "--data", pets / "pets", *MODEL)
    one, two = (*command, "--recipe", "quick,epochs=1"), (*command, "--recipe", "quick,epochs=1,batch_size=16")
    for arguments in (one, two, (*one, "--seed", 1)):
        assert run(*arguments) == 0
    folders = sorted(folder.name for folder in tmp_path.iterdir())
    assert len(folders) == 3
    assert all(re.fullmatch(r"saam-pets-resnet8-[0-9a-f]{4}", name) for name in folders)
    capsys.readouterr()
    assert run(*one) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(" holds this training, finished; --again trains it again")
    assert line.split()[0] in folders
    assert sorted(folder.name for folder in tmp_path.iterdir()) == folders


def test_the_precision_auto_is_measured_once_and_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    seen, answer = [], ["bf16"]

    def resolve(recipe, network, *, known, **settings):
        seen.append(known)
        return recipe.replace(precision=known or answer[0])

    monkeypatch.setattr(train, "resolve_precision", resolve)
    command = ("train", *DIGITS, *MODEL, "--recipe", "quick,epochs=1,precision=auto", "--device", "cpu")
    assert run(*command) == 0
    (out,) = tmp_path.glob("saam-*")
    assert json.loads((out / "config.json").read_text())["recipe"]["precision"] == "bf16"
    answer[0] = "no"
    capsys.readouterr()
    assert run(*command) == 0
    assert "holds this training, finished" in capsys.readouterr().out
    assert seen == ["", "bf16"]


def test_an_interrupted_training_keeps_its_precision(tmp_path):
    assert train._kept_precision(tmp_path) == ""
    torch.save({"run": {"recipe": {"precision": "bf16"}}}, tmp_path / "state.pt")
    assert train._kept_precision(tmp_path) == "bf16"
    (tmp_path / "state.pt").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"state.pt is damaged: remove it"):
        train._kept_precision(tmp_path)


@pytest.mark.slow
def test_torchrun_trains_as_one_process_does_and_saves_once(torchrun, tmp_path):
    """Without batch norm, whose statistics are those of each process's share of a batch."""
    arguments = ["train", *DIGITS, "--model", "timm:test_convnext", "--attention", "se", "--where", "residual"]
    arguments += ["--device", "cpu", "--threads", "1"]
    recipe = "quick,epochs=2,batch_size=24"
    two = ("-m", "saam", *arguments, "--out", tmp_path / "two", "--recipe")
    said = torchrun(*two, recipe, timeout=240)
    assert said.count("saved:") == said.count("epoch 2/2") == 1
    said = torchrun(*two, f"{recipe},precision=auto", timeout=240)  # it takes that of the folder
    assert said.count("holds this training, finished") == 1
    assert run(*arguments, "--recipe", recipe, "--out", tmp_path / "one") == 0
    configs = [json.loads((tmp_path / folder / "config.json").read_text()) for folder in ("one", "two")]
    tests = [config.pop("test") for config in configs]
    assert configs[0] == configs[1]
    assert tests[1] == pytest.approx(tests[0], rel=1e-4)
    one, two = (saam.load(tmp_path / folder).state_dict() for folder in ("one", "two"))
    torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-5)
    fresh = saam.create_model("timm:test_convnext", attention="se", num_classes=10, start="identity", seed=0)
    assert any(not torch.allclose(value, one[name], atol=1e-3) for name, value in fresh.state_dict().items())
