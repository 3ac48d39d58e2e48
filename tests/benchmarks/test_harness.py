"""The benchmark of the harness runs on small data, and what it says is built from what it measured."""

import runpy
from pathlib import Path

import pytest

from saam.data import load_data
from saam.executors import Processes

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "harness.py"


@pytest.fixture
def scope():
    names = runpy.run_path(str(SCRIPT))
    for function in ("loop", "part", "bare_steps", "timm"):
        names[function].__globals__.update({"STEPS": 2, "BATCH": 8})
    return names


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load_data("photo-digits", train=40, validation=10, test=10)


@pytest.mark.parametrize("name", ["loop", "augmentation", "timm"])
def test_a_measurement_gives_a_line_with_a_ratio(scope, digits, name):
    ((what, measured, bar, met),) = scope[name](digits, 2)
    middle = float(measured.split()[0])
    assert what.startswith(name)
    assert middle > 0
    assert met == ("yes" if (middle <= 1.03 if name == "loop" else middle >= float(bar.split()[-1])) else "**no**")


def test_lines_compare_the_median_with_the_bar(scope):
    line = scope["line"]
    assert line("a", [1.0, 2.0, 9.0], 2, least=True) == ("a", "2.000 [1.500, 5.500]", "at least 2", "yes")
    assert line("a", [1.0, 2.0, 9.0], 2.5, least=True)[3] == "**no**"
    assert line("a", [1.0, 2.0, 9.0], 2.5, least=False, unit=" s") == (
        "a",
        "2.000 [1.500, 5.500] s",
        "at most 2.5 s",
        "yes",
    )
    assert line("a", [3.0], 2.5, least=False, digits=1)[1:] == ("3.0", "at most 2.5", "**no**")


def test_contenders_take_turns_after_a_warm_up(scope):
    order = []
    contenders = {name: lambda name=name: order.append(name) or float(len(order)) for name in ("a", "b")}
    found = scope["turns"](contenders, 2)
    assert order == ["a", "b", "a", "b", "b", "a"]
    assert found == {"a": [3.0, 6.0], "b": [4.0, 5.0]}
    assert scope["ratios"]([3.0, 6.0], [4.0, 5.0]) == [0.75, 1.2]


def test_epochs_are_timed_with_all_that_the_loop_does(scope, monkeypatch):
    clock = iter([10.0, 17.5])
    monkeypatch.setattr(scope["time"], "process_time", lambda: next(clock))

    class Batches:
        def __len__(self):
            return 2

        def epoch(self, epoch):
            yield from [(epoch, 0), (epoch, 1)]

    timed = scope["Timed"](Batches())
    assert list(timed.epoch(3)) == [(3, 0), (3, 1)]
    assert (timed.seconds, len(timed)) == (7.5, 2)


def test_an_unknown_measurement_is_refused(scope, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [str(SCRIPT), "lop"])
    with pytest.raises(SystemExit):
        scope["main"]()
    assert "unknown measurement lop: known are loop, augmentation" in capsys.readouterr().err


def test_the_processor_time_of_processes_counts_whoever_started_them(scope):
    before = scope["children"]()
    with Processes(1) as pool:
        pool.submit(sum, range(20_000_000)).result()
        alive = scope["children"]() - before
    assert alive > 0.05
    assert scope["children"]() - before > 0.05
