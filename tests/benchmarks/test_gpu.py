"""The benchmark for GPUs runs on the CPU too, and its page says what its records say."""

import json
import runpy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import saam

pytest.importorskip("timm")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
CPU = torch.device("cpu")
needs_fused = pytest.mark.skipif(saam.backends()["fused"] != "available", reason="the fused operations are not built")


@pytest.fixture
def scope():
    return runpy.run_path(str(SCRIPT))["main"].__globals__


@needs_fused
@pytest.mark.filterwarnings("ignore")  # opcheck warns
def test_the_fused_operations_are_right_in_every_case(scope):
    found = list(scope["correctness"](CPU, quick=True))
    assert len(found) == 4 * 2 * 2 * len(scope["ATTENTIONS"])
    assert {case["dtype"] for case in found} == {"float64", "float32", "bfloat16", "float16"}
    lines = scope["error_table"](found).splitlines()[2:]
    assert [line.split(" | ")[-1] for line in lines] == ["yes |"] * 4
    assert any(case["fused"] > 0 for case in found)


@needs_fused
def test_a_wrong_operation_is_found(scope, monkeypatch):
    from saam.functional.fused import autograd

    right = autograd.rescale
    monkeypatch.setattr(autograd, "rescale", lambda *inputs: 1.001 * right(*inputs))
    found = [
        {"dtype": "float32", "shape": (2, 16, 5, 3), "attention": attention}
        | scope["case"](attention, (2, 16, 5, 3), torch.float32, torch.contiguous_format, CPU)
        for attention in ("se", "saam")
    ]
    assert scope["error_table"](found).endswith("| **no**: 2, se on (2, 16, 5, 3) |")


def test_nan_is_wrong(scope):
    case = {"dtype": "float64", "shape": (1, 2, 3, 4), "attention": "saam", "fused": float("nan"), "eager": 0.0}
    assert "**no**: 1, saam on (1, 2, 3, 4)" in scope["error_table"]([case])


@needs_fused
def test_modules_are_timed_with_the_backend_that_their_name_says(scope, monkeypatch):
    seen = {}
    monkeypatch.setattr("torch.compile", partial(torch.compile, backend="eager"))

    def keep(contenders, rounds, device):
        for name, run in contenders.items():
            with torch.profiler.profile() as profile:
                run()
            seen[name] = {event.key for event in profile.key_averages()}
        return dict.fromkeys(contenders, 0.002)

    monkeypatch.setitem(scope, "medians", keep)
    (record, _) = scope["modules"](CPU, quick=True, dtype="float32")
    assert record["milliseconds"] == dict.fromkeys(seen, 2.0)
    assert len(seen) == 2 + 2 * 7
    for name, operations in seen.items():
        fused = name.split()[0] in ("SAAM", "SE")
        assert ("saam::squeeze" in operations) == fused, name
    assert scope["columns"](record["milliseconds"])["of the bound, train"] == 4.0


def test_a_time_is_that_of_one_call(scope, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def work():
        now[0] += 0.002

    assert scope["seconds"](work, 5, CPU) == pytest.approx(0.002)
    assert scope["medians"]({"a": work}, 3, CPU) == pytest.approx({"a": 0.002})


def test_the_page_is_made_from_the_records_of_its_parts(scope, tmp_path, monkeypatch):
    times = {"new": 1.0, "copy": 1.0, "timm train": 10.0, "timm inference": 4.0}
    for name in ("SAAM", "SE", "compiled SAAM", "eager SAAM", "eager SE", "compiled timm"):
        times |= {f"{name} train": 5.0, f"{name} inference": 2.0}
    record = {"dtype": "bfloat16", "layout": "NCHW", "shape": [2, 16, 9, 9], "milliseconds": times}
    errors = {
        "dtype": "float32",
        "layout": "NCHW",
        "shape": [1, 2, 3, 4],
        "attention": "se",
        "fused": 1e-7,
        "eager": 1e-7,
    }
    parts = {
        "correctness": [errors],
        "modules": [record],
        "runs": [{"runs": 1, "images a second": 1000.0}, {"runs": 4, "images a second": 3100.0}],
    }
    for name, records in parts.items():
        content = {"circumstances": {"GPU": "a card"}, "records": records}
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    monkeypatch.setitem(scope, "PAGE", tmp_path / "gpu.md")
    monkeypatch.setattr("sys.argv", ["gpu.py", "page", "--records", str(tmp_path)])
    scope["main"]()
    text = (tmp_path / "gpu.md").read_text()
    assert text.count("- GPU: a card") == 1
    assert "| float32 | 1 | 1.0e-07 | 1.0e-07 | yes |" in text
    assert "| SAAM train, geometric mean | 0.500 | at most 0.50 | yes |" in text
    assert "| SAAM train / compiled SAAM, worst | 1.000 | at most 1.00 | yes |" in text
    assert "| of the bound, train, largest map | 0.800 | at least 0.60 | yes |" in text
    assert "| 4 | 3,100 | 3.10 |" in text


def test_epochs_are_counted_while_all_runs_train(scope):
    record = SimpleNamespace(finished="2026-01-01T00:00:10+00:00", curve=[{"seconds": 2.0}, {"seconds": 1.0}])
    (first, second) = scope["spans"](record)
    assert (first[1] - first[0], second[0] - first[1], second[1] - second[0]) == (2.0, 0.0, 1.0)
    early, late = [(0.0, 2.0), (2.0, 4.0)], [(1.0, 2.0), (2.0, 3.0), (3.0, 9.0)]
    assert scope["epochs_a_second"]([early]) == 0.5
    assert scope["epochs_a_second"]([early, late]) == pytest.approx((1.5 + 2 + 1 / 6) / 3)
    with pytest.raises(RuntimeError, match="did not train at the same time"):
        scope["epochs_a_second"]([early, [(5.0, 6.0)]])


@pytest.mark.slow
def test_runs_side_by_side_are_counted(scope, tmp_path, monkeypatch, capsys):
    data = "photo-digits,train=128,validation=20,test=20"
    argv = ["gpu.py", "runs", "--device", "cpu", "--quick", "--data", data, "--records", str(tmp_path)]
    monkeypatch.setattr("sys.argv", argv)
    scope["main"]()
    kept = json.loads((tmp_path / "runs.json").read_text())
    assert [each["runs"] for each in kept["records"]] == [1, 2]
    assert all(each["images a second"] > 0 for each in kept["records"])
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(scope, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("sys.argv", ["gpu.py", "modules", "--records", str(tmp_path / "none")])
    with pytest.raises(SystemExit):
        scope["main"]()
    assert "there is no GPU here" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
