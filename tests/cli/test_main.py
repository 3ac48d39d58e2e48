"""The command line: what it prints, what it writes, and how it fails."""

import contextlib
import json
import re
import subprocess
import sys

import pytest
import torch

import saam
from saam.cli.main import main

TINY = [
    *("--data", "photo-digits,train=120,validation=40,test=60"),
    *("--model", "resnet8,width=8,stem_stride=2"),
    *("--recipe", "demo,epochs=1"),
]


def run(*arguments):
    """Run the command and give its exit code, without colours or a terminal's width deciding anything."""
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    assert run("compare", *TINY, "--arms", "none", "saam,heads=2", "--seeds", 1, "--out", folder, "--workers", 1) == 0
    return folder


def test_compare_writes_records_networks_and_report(comparison, capsys):
    plan = json.loads((comparison / "plan.json").read_text())["plan"]
    assert plan["arms"] == ["none", "saam,heads=2"]
    assert plan["recipe"]["epochs"] == 1
    assert len(list((comparison / "runs").glob("*.json"))) == 2
    assert len(list((comparison / "weights").glob("*.safetensors"))) == 2
    page = (comparison / "report.html").read_text()
    assert "saam,heads=2" in page
    assert "data:image/png;base64," in page


def test_report_prints_the_table_again(comparison, capsys):
    (comparison / "report.html").unlink()
    assert run("report", comparison) == 0
    printed = capsys.readouterr().out
    assert re.search(r"saam,heads=2\s+1/1", printed)
    assert (comparison / "report.html").is_file()


def test_a_finished_comparison_is_not_run_again(comparison, capsys):
    records = {file: file.stat().st_mtime_ns for file in (comparison / "runs").iterdir()}
    assert run("compare", "--plan", comparison / "plan.json", "--out", comparison) == 0
    assert "2 of 2 runs" in capsys.readouterr().out
    assert records == {file: file.stat().st_mtime_ns for file in (comparison / "runs").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["compare", "--arms", "none", "sam"], "unknown attention 'sam': did you mean 'saam'"),
        (["compare", "--arms", "none", "saam,heds=2"], "no option 'heds': did you mean 'heads'"),
        (["compare", "--arms", "none", "saam,heads=3"], "heads must divide the channels"),
        (
            ["compare", "--data", "photo-digit"],
            "a folder 'photo-digit' here nor a data set of that name: did you mean 'photo-digits'",
        ),
        (["compare", "--data", "photo-digits,trian=5"], "did you mean 'train'"),
        (["compare", "--model", "resnt20"], "unknown model 'resnt20': did you mean"),
        (["compare", "--model", "resnet9"], "6n+2"),
        (["compare", "--recipe", "dmeo"], "unknown recipe 'dmeo': did you mean 'demo'"),
        (["compare", "--recipe", "demo,epoch=3"], "did you mean 'epochs'"),
        (["compare", "--seeds", "0"], "needs seeds"),
        (["compare", "--data", "folder:/no/such/folder"], "/no/such/folder"),
        (["report", "/no/such/folder"], "/no/such/folder"),
        (["explain", "/no/such/folder"], "/no/such/folder"),
        (["train", "--attention", "sam"], "did you mean 'saam'"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, expected, tmp_path, capsys):
    out = [] if arguments[0] in ("report", "explain") else ["--out", tmp_path / "out"]
    assert run(*arguments, *out) == 1
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.startswith("saam: ")
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out" / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["comparee"], "compare"), (["compare", "--armz", "none"], "--arm"), (["list", "nothing"], "attentions")],
)
def test_words_not_understood_are_one_line(arguments, expected, capsys):
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count("\n") == 1


def test_a_file_in_place_of_the_output_folder(tmp_path, capsys):
    (tmp_path / "out").write_text("in the way")
    assert run("compare", *TINY, "--out", tmp_path / "out") == 1
    assert "cannot write to" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == "in the way"


@pytest.mark.parametrize("words", [["list"], ["list", "--json"]])
def test_a_pipe_whose_reader_has_gone_is_no_error(words):
    command = [sys.executable, "-uc", f"import sys; from saam.cli.main import main; sys.exit(main({words}))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("attentions", "saam"),
        ("squeezes", "mean+max"),
        ("data", "photo-digits"),
        ("models", "resnet20"),
        ("recipes", "demo"),
    ],
)
def test_list(kind, expected, capsys):
    assert run("list", kind) == 0
    assert expected in capsys.readouterr().out


def test_profile_measures_every_arm(capsys):
    arguments = ("--model", "resnet8,width=8,stem_stride=2", "--arms", "se", "saam", "--batch-size", 4)
    before = torch.get_num_threads()
    assert run("profile", *arguments) == 0
    printed = capsys.readouterr().out
    rows = [
        line.split() for line in printed.splitlines() if line.split()[:1] and line.split()[0] in ("none", "se", "saam")
    ]
    assert [row[0] for row in rows] == ["none", "se", "saam"]
    parameters = [int(row[1].replace(",", "")) for row in rows]
    assert parameters[1] - parameters[0] == sum(2 * c * h + h + c for c, h in ((8, 1), (16, 1), (32, 2)))
    assert parameters[2] - parameters[1] == 8 + 16 + 32
    assert torch.get_num_threads() == before


def test_train_saves_what_load_and_explain_read(tmp_path, capsys):
    out = tmp_path / "trained"
    arguments = (
        "--attention",
        "saam,heads=2",
        "--data",
        TINY[1],
        "--model",
        TINY[3],
        "--recipe",
        TINY[5],
        "--out",
        out,
    )
    assert run("train", *arguments) == 0
    printed = capsys.readouterr().out
    assert "epoch 1/1" in printed
    assert f"saved: {out}" in printed
    assert {file.name for file in out.iterdir()} == {"model.safetensors", "config.json", "curves.json"}
    accuracy = json.loads((out / "config.json").read_text())["test"]["accuracy"]
    assert f"test: {accuracy:.2f} % of 60 images" in printed
    network = saam.load(out)
    assert {pool.heads for pool in network.modules() if isinstance(pool, saam.ScorePool2d)} == {2}

    assert run("explain", out, "--images", 3, "--out", tmp_path / "maps.png") == 0
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")
    assert "at layer3.0.bn2" in capsys.readouterr().out


def test_fine_tuning_starts_from_published_weights_and_learns_new_parameters_faster(tmp_path, capsys, monkeypatch):
    """timm's own loading code, with a file in the place of the download."""
    import timm

    published, real = timm.create_model("resnet10t", zero_init_last=False), timm.create_model
    torch.save(published.state_dict(), tmp_path / "weights.pth")

    def from_file(name, pretrained=False, **options):
        assert pretrained or not options.get("pretrained_cfg_overlay")
        return real(name, pretrained, pretrained_cfg_overlay={"file": str(tmp_path / "weights.pth")}, **options)

    monkeypatch.setattr(timm, "create_model", from_file)
    out = tmp_path / "tuned"
    recipe = "finetune,epochs=1,learning_rate=1e-6,new_parameters_factor=1e4,batch_size=30"
    arguments = ("--pretrained", "--attention", "saam", "--data", TINY[1], "--recipe", recipe, "--out", out)
    assert run("train", "--model", "timm:resnet10t", *arguments) == 0, capsys.readouterr().err
    tuned, before = saam.load(out).state_dict(), published.state_dict()
    moved = (tuned["conv1.0.weight"] - before["conv1.0.weight"]).abs().max()
    assert 0 < moved < 1e-5
    assert tuned["fc.weight"].shape == (10, 512)
    gates = [value for key, value in tuned.items() if key.endswith("excitation.fc2.weight")]
    assert gates
    assert all(value.abs().max() > 10 * moved for value in gates)  # they were zero


def test_a_missing_library_is_named_with_the_remedy(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert run("profile", "--model", "timm:resnet18", "--arms", "se") == 1
    assert "pip install 'saam[models]'" in capsys.readouterr().err


def test_ctrl_c_in_a_comparison_is_one_line(tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("saam.cli.compare.compare", stop)
    assert run("compare", *TINY, "--out", tmp_path / "out") == 130
    assert capsys.readouterr().err.startswith("saam: stopped; run the same command again to resume")


def test_sigterm_stops_as_ctrl_c_does():
    code = (
        "import os, signal, sys; from saam.cli import main; sys.argv = ['saam', 'compare']; "
        "main.app = lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM); sys.exit(main.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.startswith("saam: stopped; run the same command again to resume")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("compare", "--seeds", "2.7"), "expected a whole number, got '2.7'"),
        (("compare", "--seeds", "9" * 24), "expected a whole number, got '999"),
        (("compare", "--seeds", "999999999"), "expected at most 10,000 seeds, got 999999999"),
        (("compare", "--seeds", "1e3"), "expected a whole number, got '1e3'"),
        (("compare", "--workers", "1.5"), "expected a whole number"),
        (("profile", "--threads", "100000"), "threads=100000: expected 1 to 1024"),
        (("compare", *TINY, "--threads", "100000"), "threads=100000: expected 1 to 1024"),
        (
            ("profile", "--arms", "se,bias=abc", "--model", "resnet8"),
            "the option 'bias' of attention 'se' must be True or",
        ),
        (("profile", "--model", "timm:vit_tiny_patch16_224", "--arms", "none"), "does not accept images of 32x32"),
        (("report", "\x1b[31mnowhere"), r"\x1b[31mnowhere holds no comparison"),
    ],
)
def test_what_crashed_is_one_line(arguments, expected, capsys):
    assert run(*arguments) in (1, 2)
    printed = capsys.readouterr().err
    assert expected in printed
    assert "\x1b" not in printed
    assert printed.count("\n") == 1


def test_a_report_of_a_folder_builds_nothing_from_elsewhere(comparison, capsys, tmp_path):
    import shutil

    folder = shutil.copytree(comparison, tmp_path / "stranger")
    content = json.loads((folder / "plan.json").read_text())
    content["plan"]["model"] = "timm:resnet18"
    content["plan"]["model_options"] = {"checkpoint_path": str(tmp_path / "weights.bin"), "cache_dir": str(tmp_path)}
    (folder / "plan.json").write_text(json.dumps(content))
    assert run("report", folder) == 0
    assert "is not taken from a file" in capsys.readouterr().out
    assert run("explain", folder, "--out", tmp_path / "maps.png") == 1
    assert "is not taken from a file" in capsys.readouterr().err
    assert run("compare", "--plan", folder / "plan.json", "--out", tmp_path / "again") == 1
    assert "is not taken from a file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["stranger"]


def test_explain_of_a_training_builds_nothing_from_elsewhere(capsys, tmp_path):
    from saam.models import create_model, describe
    from saam.training import EpochRecord, save_checkpoint

    model = create_model("resnet8", attention="saam", width=4)
    curve = [EpochRecord(1, 0.1, 1.0, 50.0, 1.0, 50.0, 1.0)]
    data = {"name": "photo-digits", "options": {"train": 20, "validation": 10, "test": 10}}
    for change, expected in (
        ({"data": {"name": "hub:stranger/data", "options": {}}}, "cannot get the data set"),
        ({"data": {"name": "photo-digits", "options": {"cache_dir": "x"}}}, "is not taken from a file"),
        ({"model": {"name": "timm:resnet18", "num_classes": 10, "options": {"checkpoint_path": "x"}}}, "is not taken"),
    ):
        folder = save_checkpoint(tmp_path / "net", model, {**describe(model), "data": data, **change}, curve)
        assert run("explain", folder, "--out", tmp_path / "maps.png") == 1
        assert expected in capsys.readouterr().err


def test_without_a_command_it_says_where_to_begin(capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    assert "Where to begin" in printed
    assert "saam compare --data FOLDER,size=64" in printed
    with contextlib.suppress(SystemExit):
        run("compare", "--help")
    assert "Where to begin" not in capsys.readouterr().out
