"""The benchmark of the fused operations runs, its ratios are ratios, and its rival takes no fused operation."""

import re
import runpy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import saam

pytest.importorskip("timm")
SCRIPT = str(Path(__file__).parents[2] / "benchmarks" / "fused.py")
LAYOUTS = ("NCHW", "channels_last")
WORKS = ("train", "inference")


@pytest.fixture
def benchmark():
    found = runpy.run_path(SCRIPT)
    return found["main"].__globals__  # which its functions read, so that a test can put something in their place


@pytest.fixture
def graphs(monkeypatch):
    """Let torch.compile keep the graphs that it captures, and run them as they are: nothing is built."""
    found, compile_really = [], torch.compile

    def keep(graph, inputs):
        found.append(graph)
        return graph.forward

    monkeypatch.setattr("torch.compile", partial(compile_really, backend=keep))
    torch._dynamo.reset()
    yield found
    torch._dynamo.reset()


class Operations(TorchDispatchMode):
    """Keep the names of the operations that are called."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(str(function))
        return function(*args, **(kwargs or {}))


def table_rows(table):
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()[2:]]


def test_medians_leave_out_the_warm_up(benchmark, monkeypatch):
    calls, now = [], [0.0]
    durations = {"a": iter([100, 100, 1, 5, 2]), "b": iter([100, 100, 7, 9, 8])}
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def work(name):
        calls.append(name)
        now[0] += next(durations[name])

    found = benchmark["medians"]({name: partial(work, name) for name in durations}, 3)
    assert calls == ["a", "b"] * 3 + ["b", "a"] + ["a", "b"]  # two to warm up, then turns
    assert found == {"a": 2, "b": 8}


def test_medians_refuse_to_time_a_compilation(benchmark, graphs):
    module = benchmark["compiled"](nn.Linear(4, 4))

    def contender(sizes):
        return {"compiled": lambda: module(torch.zeros(next(sizes), 4))}

    benchmark["medians"](contender(iter([2, 3, 3, 2])), 2)  # both are compiled while warming up
    assert len(graphs) == 2
    with pytest.raises(RuntimeError, match="recompile"):
        benchmark["medians"](contender(iter([2, 2, 5])), 1)


@pytest.mark.parametrize("options", ["", ",heads=4", ",scorer=channel", ",kernel_size=3,temperature=sqrt"])
def test_rival_computes_the_same_without_a_fused_operation(benchmark, graphs, options):
    attention = benchmark["saam_for"](8, f"saam,rd_ratio=1{options}")
    rival = benchmark["Eager"](attention)
    x, dy = torch.randn(2, 8, 5, 3, requires_grad=True), torch.randn(2, 8, 5, 3)
    wanted = [x, *attention.parameters()]
    with Operations() as called:
        y = rival(x)
    expected = attention(x)
    torch.testing.assert_close(y, expected)
    gradients = torch.autograd.grad(expected, wanted, dy)
    torch.testing.assert_close(torch.autograd.grad(y, wanted, dy), gradients, atol=1e-5, rtol=1e-4)
    compiled = torch.autograd.grad(benchmark["compiled"](rival)(x), wanted, dy)
    torch.testing.assert_close(compiled, gradients, atol=1e-5, rtol=1e-4)
    (graph,) = graphs  # one: nothing breaks it
    called.names |= {str(node.target) for node in graph.graph.nodes}
    assert "aten._softmax.default" in called.names
    assert not [name for name in called.names if name.startswith("saam.")]


@pytest.mark.skipif(saam.backends()["fused"] != "available", reason="the fused operations are not built")
def test_saam_that_is_measured_takes_the_fused_operation(benchmark):
    with Operations() as called:
        benchmark["saam_for"](8, "saam")(torch.randn(2, 8, 5, 3))
    assert {"saam.squeeze.default", "saam.rescale.default"} <= called.names


@pytest.mark.parametrize("scorer", ["pixel", "channel"])
def test_scores_of_the_measured_saam_are_neither_equal_nor_extreme(benchmark, scorer):
    scores = benchmark["saam_for"](512, f"saam,scorer={scorer}").squeeze.scores(torch.randn(8, 512, 16, 16))
    assert 0.8 < scores.std() < 1.2


@pytest.mark.parametrize("attention", ["saam", "saam,heads=2"])
def test_row_divides_the_times_that_it_says(benchmark, graphs, monkeypatch, attention):
    names = ["timm", "SAAM", "SE", "compiled SE", "compiled eager SAAM", "SAAM of more heads"]
    times = {f"{name} {work}": 2.0 + i + 0.5 * j for i, name in enumerate(names) for j, work in enumerate(WORKS)}
    times |= {"new": 0.5, "copy": 0.25}
    ran = set()

    def fake(contenders, rounds):
        for name, run in contenders.items():
            run()
            ran.add(name)
        return times

    monkeypatch.setitem(benchmark, "medians", fake)
    row = benchmark["module_row"]((2, 8, 5, 3), torch.channels_last, 1, attention)
    expected = {}
    for work in WORKS:
        t = {name: times[f"{name} {work}"] for name in names}
        expected[f"timm {work}, ms"] = 1000 * t["timm"]
        expected[f"SAAM {work}"] = t["SAAM"] / t["timm"]
        expected[f"SE {work}"] = t["SE"] / t["timm"]
        expected[f"SAAM {work} / compiled SE"] = t["SAAM"] / t["compiled SE"]
        expected[f"SAAM {work} / compiled eager SAAM"] = t["SAAM"] / t["compiled eager SAAM"]
        if attention == "saam":
            expected[f"4 heads / 1, {work}"] = t["SAAM of more heads"] / t["SAAM"]
    expected["of the bound, train"] = 1.5 / times["SAAM train"]
    expected["of the bound, inference"] = 0.625 / times["SAAM inference"]
    assert row == pytest.approx(expected)
    assert ran == {name for name in times if attention == "saam" or "more heads" not in name}
    rivals = [graph for graph in graphs if any("softmax" in str(node.target) for node in graph.graph.nodes)]
    assert len(graphs) == 4  # two modules, with gradients and without
    assert len(rivals) == 2


def made_up_rows(benchmark, change):
    """Return rows of one small and one large map in both layouts, in which every bar is met by a hair."""
    values = {"timm train, ms": 3.0}
    for bar in benchmark["BARS"]:
        hair = 0.001 if bar.column.startswith("of the bound") else -0.001
        values.setdefault(bar.column, bar.limit + hair)
    rows = {(shape, layout): dict(values) for layout in LAYOUTS for shape in ((2, 4, 3, 3), (2, 4, 9, 9))}
    for (height, layout), column, value in change:
        rows[(2, 4, height, height), layout][column] = value
    return rows


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        ([], []),
        ([((3, "NCHW"), "SAAM train", 0.56)], ["SAAM train, geometric mean"]),
        ([((3, "NCHW"), "SAAM train", 0.9), ((9, "NCHW"), "SAAM train", 0.2)], ["SAAM train, worst"]),
        (
            [((9, "channels_last"), "SAAM inference", 1.41)],
            [f"SAAM inference, {how}" for how in ("geometric mean", "worst")],
        ),
        ([((9, "NCHW"), "SAAM inference", 1.4), ((3, "NCHW"), "SAAM inference", 0.5)], []),
        ([((3, "NCHW"), "of the bound, train", 0.1)], []),  # a small map
        ([((9, "channels_last"), "of the bound, train", 0.69)], ["of the bound, train, largest map"]),
        ([((9, "channels_last"), "of the bound, train", 0.71)], []),
    ],
)
def test_bars_say_what_is_missed(benchmark, change, missed):
    lines = table_rows(benchmark["bar_table"](made_up_rows(benchmark, change)))
    assert len(lines) == 7
    assert [name for name, *_, met in lines if met != "yes"] == missed
    assert {met for *_, met in lines} <= {"yes", "**no**"}


def test_bars_of_saam_are_the_ones_agreed_on(benchmark):
    limits = {bar[:2]: bar.limit for bar in benchmark["BARS"] if bar.column in ("SAAM train", "SAAM inference")}
    assert limits == {
        ("SAAM train", "geometric mean"): 0.55,
        ("SAAM train", "worst"): 0.80,
        ("SAAM inference", "geometric mean"): 1.10,
        ("SAAM inference", "worst"): 1.40,
    }


def test_module_table_ends_in_mean_and_worst(benchmark):
    rows = {
        ((1, 2, 3, 4), "NCHW"): {"timm train, ms": 7.0, "SAAM train": 0.5, "of the bound, train": 0.2},
        ((5, 6, 7, 8), "NCHW"): {"timm train, ms": 9.0, "SAAM train": 2.0, "of the bound, train": 0.8},
    }
    assert table_rows(benchmark["module_table"](rows)) == [
        ["1 x 2 x 3 x 4, NCHW", "7.00", "0.50", "0.20"],
        ["5 x 6 x 7 x 8, NCHW", "9.00", "2.00", "0.80"],
        ["**geometric mean**", "", "1.00", "0.40"],
        ["**worst**", "", "2.00", "0.20"],
    ]


@pytest.mark.parametrize(("arguments", "attention"), [([], "saam"), (["--saam", "heads=2"], "saam,heads=2")])
def test_options_of_saam_reach_every_table_and_keep_the_page(
    benchmark, monkeypatch, tmp_path, capsys, arguments, attention
):
    seen = {}

    def rows(shapes, rounds, attention):
        seen["rows"] = attention
        return made_up_rows(benchmark, [])

    def table(name):
        def fake(size, attention):
            seen[name] = attention
            return f"table of {name}"

        return fake

    page = tmp_path / "fused.md"
    monkeypatch.setitem(benchmark, "PAGE", page)
    monkeypatch.setitem(benchmark, "module_rows", rows)
    monkeypatch.setitem(benchmark, "overhead_table", table("overhead"))
    monkeypatch.setitem(benchmark, "network_table", lambda batch, rounds, attention: table("network")(batch, attention))
    monkeypatch.setitem(benchmark, "memory_table", table("memory"))
    monkeypatch.setattr("sys.argv", ["fused.py", *arguments])
    benchmark["main"]()
    printed = capsys.readouterr().out
    assert seen == {"rows": attention, "overhead": attention, "network": attention, "memory": attention}
    assert page.exists() == (not arguments)
    text = printed if arguments else page.read_text()
    assert f"- SAAM: {attention}\n" in text
    assert "| SAAM train, worst | 0.549 | at most 0.80 | yes |" in text


def test_peak_memory_is_that_of_the_saam_with_its_options(benchmark, monkeypatch):
    commands = []

    class Result:
        stdout = "2048"

    def run(command, **options):
        commands.append(command)
        return Result

    monkeypatch.setattr("subprocess.run", run)
    assert "| 2 MiB | 2 MiB | 2 MiB |" in benchmark["memory_table"](1, "saam,heads=3")
    monkeypatch.setattr("sys.argv", commands[1][1:])
    with pytest.raises(ValueError, match="heads must divide the channels, got heads=3 for channels=256"):
        benchmark["main"]()


def test_network_table_is_relative_to_timm(benchmark):
    lines = benchmark["network_table"](4, 2).splitlines()
    assert len(lines) == 4
    for line in lines[2:]:
        reference, *others = (float(cell) for cell in re.findall(r"\d+\.\d{3}", line))
        assert reference == 1
        assert len(others) == 3
        assert min(others) > 0


def test_peak_memory_grows_with_the_map(benchmark):
    peak = benchmark["peak_of"]("SAAM")
    maps = 4 * 16 * 256 * 56 * 56 / 1024
    assert peak > 4 * maps  # x, its gradient, dy, y
