"""What ``saam list`` says of each entry, and that it keeps within the width it is given."""

import pytest

from saam.cli.main import main
from saam.nn import list_attentions, list_squeezes


def listed(kind, capsys, monkeypatch, columns=80):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["list", kind]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    return lines


def test_an_attention_is_a_block(capsys, monkeypatch):
    lines = listed("attentions", capsys, monkeypatch)
    assert lines[0].split("  ")[-1] == "paper"
    assert "params (C=64)" in lines[0]
    starts = [index for index, line in enumerate(lines) if line.split(" ")[0] in list_attentions()]
    blocks = {lines[index].split()[0]: " ".join(lines[index : index + 5]).split() for index in starts}
    assert list(blocks) == list_attentions()
    assert blocks["eca"][:4] == ["eca", "3", "yes", "arXiv:1910.03151"]
    assert blocks["ge"][:3] == ["ge", f"{64 * 8 * 8 + 2 * 64:,}", "yes"]
    assert blocks["coord"][:3] == ["coord", "1,688", "arXiv:2103.02907"]  # takes no squeeze
    text = " ".join(" ".join(lines).split())
    for phrase in (
        "placement: before each convolution",
        "paper: Lee, Chung: Score-based Aggregation",
        "timm:NAME",
        "ge and ge-plus for maps of 8x8",
    ):
        assert phrase in text


def test_a_squeeze_has_a_line(capsys, monkeypatch):
    lines = listed("squeezes", capsys, monkeypatch, columns=120)
    assert [line.split()[0] for line in lines] == list_squeezes()
    assert all(len(line.split()) > 3 and "(B, C" not in line and ":func:" not in line for line in lines)


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_models_and_data_say_what_they_are_for(capsys, monkeypatch, columns):
    models = " ".join(listed("models", capsys, monkeypatch, columns))
    for phrase in ("32x32", "wrn22_4", "timm:NAME", "torchvision:NAME"):
        assert phrase in models
    data = " ".join(" ".join(listed("data", capsys, monkeypatch, columns)).split())
    folder = "options: size, validation=0.1, test=0.1, seed=0, limit, skip_corrupt=false, workers=0, label"
    for phrase in (folder, "train=15000", "revision"):
        assert phrase in data
    assert "a tenth each" in " ".join(" ".join(listed("data", capsys, monkeypatch, columns)).split())


def test_without_a_terminal_or_columns_there_are_a_hundred(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["list", "recipes"]) == 0
    assert 80 < max(map(len, capsys.readouterr().out.splitlines())) <= 100
