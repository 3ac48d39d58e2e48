"""The benchmark of the modules runs, and its ratios are ratios."""

import re
import runpy
from pathlib import Path

import pytest

SCRIPT = str(Path(__file__).parents[2] / "benchmarks" / "modules.py")


def test_table_of_a_fixed_size_and_a_staged_module():
    table = runpy.run_path(SCRIPT)["table"]
    lines = table(["se:timm", "ge", "eca:3557"], "CIFAR", "channels_last", 2, 2).splitlines()
    names = [line.split("|")[1].strip() for line in lines]
    assert names == ["CIFAR, channels_last", "---", "se:timm itself", "se:timm", "ge", "eca:3557"]
    assert lines[3].split("|")[3:6] == [" 1.00 [1.00, 1.00] "] * 3
    for line in lines[4:]:
        for cell in line.split("|")[3:6]:
            low, middle, high = (float(re.findall(r"\d+\.\d+", cell)[i]) for i in (1, 0, 2))
            assert 0 < low <= middle <= high
        assert float(line.split("|")[6]) > 2  # the output and the gradient of the input


def test_peak_memory_counts_maps():
    scope = runpy.run_path(SCRIPT)
    torch = scope["torch"]
    x = torch.randn(2, 16, 32, 32, requires_grad=True)
    stages = [(16, 32)]
    small, large = (scope["build"](name, stages, [x], [torch.ones_like(x)]).peak for name in ("eca", "simam"))
    assert 2 <= small < large


def test_unknown_name(monkeypatch):
    scope = runpy.run_path(SCRIPT)
    monkeypatch.setattr("sys.argv", [SCRIPT, "--quick", "ecca"])
    with pytest.raises(ValueError, match="unknown attention 'ecca'"):
        scope["main"]()
