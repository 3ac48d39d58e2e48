"""The registry: what a record holds, and what happens to names and options that nobody has."""

import dataclasses
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor

import pytest
from torch import nn

from saam.nn import (
    AttentionRecord,
    attention_record,
    create_attention,
    list_attentions,
    parse_attention,
    register,
    registry,
)

every = pytest.mark.parametrize("name", list_attentions())


@pytest.fixture
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_RECORDS", dict(registry._RECORDS))


def record(name, **fields):
    return AttentionRecord(name=name, build=nn.Identity, description="nothing", paper="none", source="here", **fields)


@every
def test_a_record_is_complete(name):
    entry = attention_record(name)
    assert entry.name == name
    for field in ("description", "paper", "source", "placement", "formula", "weight_decay"):
        text = getattr(entry, field)
        assert text, field
        assert "\n" not in text, field
        assert not text.endswith("."), field
    assert not entry.arxiv or re.fullmatch(r"\d{4}\.\d{5}", entry.arxiv)
    assert not entry.notes or entry.notes.endswith(".")
    assert re.search(r"\b(19|20)\d\d$", entry.paper), entry.paper


def test_all_modules_of_the_literature_are_there():
    assert {
        *(
            "se",
            "se:nobias",
            "se:timm",
            "ese",
            "cbam-channel",
            "bam-channel",
            "ge-minus",
            "ge",
            "ge-plus",
            "srm",
            "eca",
        ),
        *("eca:3557", "eca:3577", "eca:3357", "gc", "gc:mul", "gct", "fca", "gsop", "saam"),
    } <= set(list_attentions())


def test_records_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        attention_record("se").name = "other"


@pytest.mark.usefixtures("_own_registry")
def test_register_makes_known():
    register(record("nothing"))
    assert list_attentions()[-1] == "nothing"
    assert isinstance(create_attention("nothing", 4), nn.Identity)


@pytest.mark.usefixtures("_own_registry")
def test_register_refuses_a_name_twice():
    with pytest.raises(ValueError, match="attention 'se' is registered already; choose another name"):
        register(record("se"))


@pytest.mark.parametrize("look_up", [attention_record, parse_attention, lambda name: create_attention(name, 16)])
def test_unknown_names_give_the_nearest_and_all(look_up):
    with pytest.raises(ValueError, match=r"unknown attention 'sam': did you mean .*'saam'.*\? known: se, .*, saam, "):
        look_up("sam")


def test_unknown_options_give_the_nearest_and_all():
    with pytest.raises(
        TypeError, match=r"'se' has no option 'ratio': did you mean 'rd_ratio'\? it takes rd_ratio, .*dtype"
    ):
        create_attention("se", 16, ratio=4)


def test_needs_of_the_place_are_recorded():
    assert {name for name in list_attentions() if "size" in attention_record(name).needs} == {"ge", "ge-plus"}
    assert {name for name in list_attentions() if "stage" in attention_record(name).needs} == {
        "eca:3557",
        "eca:3577",
        "eca:3357",
    }


def test_parse():
    assert parse_attention("ge-plus, size=(7, 9), rd_ratio=0.25,squeeze=score") == (
        "ge-plus",
        {"size": (7, 9), "rd_ratio": 0.25, "squeeze": "score"},
    )
    assert parse_attention("eca:3557,stage=2") == ("eca:3557", {"stage": 2})


def test_options_may_follow_the_name_where_a_module_is_built():
    built = create_attention("eca,squeeze=score", 64, kernel_size=5)
    assert type(built.squeeze).__name__ == "ScorePool2d"
    assert built.excitation.conv.kernel_size == (5,)
    with pytest.raises(ValueError, match="option 'squeeze' is given twice, in 'eca,squeeze=score' and as a keyword"):
        create_attention("eca,squeeze=score", 64, squeeze="mean")


@pytest.mark.parametrize("text", ["se,", "se,rd_ratio", "se,rd_ratio=", "se,=2"])
def test_parse_refuses_what_is_no_option(text):
    with pytest.raises(ValueError, match="expected 'name,option=value"):
        parse_attention(text)


class TestInAWorker:
    """A worker process imports the script, but does not run what stands under its main guard."""

    GUARD = "register it at the top level of the script, or of a module that the script imports"

    def test_an_unknown_name_says_why_it_may_be_unknown(self, monkeypatch):
        monkeypatch.setattr(registry, "parent_process", lambda: object())
        with pytest.raises(ValueError, match=f"unknown attention 'quantum-gate': known: se, .*; .*{self.GUARD}$"):
            attention_record("quantum-gate")
        with pytest.raises(ValueError, match=r"did you mean .*'saam'.*triplet$"):  # a slip is a likelier reason
            attention_record("sam")

    def test_the_main_process_says_nothing_of_it(self):
        with pytest.raises(ValueError, match=r"unknown attention 'quantum-gate': known: se, .*triplet$"):
            attention_record("quantum-gate")

    def test_it_is_told_by_a_real_worker(self):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            error = pool.submit(attention_record, "quantum-gate").exception()
        assert self.GUARD in str(error)
