"""The attentions of timm by name: all of them, with their own options, and timm only when one is asked for."""

import subprocess
import sys

import pytest
import torch

from saam.nn import attention_record, create_attention, list_attentions, parse_attention

timm = pytest.importorskip("timm")
NAMES = [
    "se",
    "ese",
    "eca",
    "ecam",
    "ceca",
    "gc",
    "gca",
    "cbam",
    "lcbam",
    "coord",
    "scoord",
    "ela",
    "strip",
    "sk",
    "splat",
    "lambda",
    "bottleneck",
    "halo",
    "nl",
    "bat",
]


@pytest.mark.parametrize("name", NAMES)
def test_keeps_the_shape_and_counts_its_parameters(name):
    record = attention_record(f"timm:{name}")
    size = {"bat": (7, 14), "halo": (8, 16)}.get(name, (5, 7))
    options = record.options_at(size=size)
    module = create_attention(f"timm:{name}", 32, **options).eval()
    x = torch.randn(2, 32, *size)
    assert module(x).shape == x.shape
    assert sum(parameter.numel() for parameter in module.parameters()) == record.parameters(32, **options)


def test_is_timms_own_module():
    module = create_attention("timm:gca", 32, rd_channels=5)
    theirs = timm.layers.create_attn("gca", 32, rd_channels=5)
    theirs.load_state_dict(module.state_dict())
    x = torch.randn(2, 32, 5, 7)
    torch.testing.assert_close(module(x), theirs(x), rtol=0, atol=0)
    assert parse_attention("timm:gca,rd_channels=5") == ("timm:gca", {"rd_channels": 5})


def test_timm_is_imported_when_asked_for():
    code = (
        "import sys, saam; names = saam.list_attentions(); assert 'timm' not in sys.modules; "
        "saam.create_attention('timm:eca', 8); assert 'timm' in sys.modules; assert saam.list_attentions() == names"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
    assert not any(name.startswith("timm:") for name in list_attentions())


def test_without_timm(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError, match=r"'timm:eca' needs timm: pip install 'saam\[models\]'"):
        create_attention("timm:eca", 8)


def test_unknown_name():
    with pytest.raises(ValueError, match=r"unknown attention 'timm:ecca': did you mean 'timm:eca'.*known: timm:se, "):
        create_attention("timm:ecca", 8)


def test_names_that_the_installed_timm_lacks(monkeypatch):
    def older(name):
        assert name == "se", f"Invalid attn module ({name})"
        return timm.layers.SEModule

    monkeypatch.setattr("timm.layers.get_attn", older)
    assert isinstance(create_attention("timm:se", 8), timm.layers.SEModule)
    with pytest.raises(ValueError, match=r"unknown attention 'timm:coord': known: timm:se$"):
        create_attention("timm:coord", 8)


def test_unknown_option_and_options_that_change_the_shape():
    with pytest.raises(TypeError, match=r"'timm:gca' has no option 'rd_chanels': did you mean 'rd_channels'"):
        create_attention("timm:gca", 8, rd_chanels=2)
    for name, option in (("sk", "stride"), ("splat", "out_channels"), ("lambda", "dim_out")):
        with pytest.raises(TypeError, match=rf"no option '{option}'"):
            create_attention(f"timm:{name}", 8, **{option: 2})


def test_channels_that_timm_refuses():
    with pytest.raises(ValueError, match=r"'timm:halo' for 12 channels \(timm gives no reason\).*num_heads"):
        create_attention("timm:halo", 12)


def test_size_of_the_map_is_asked_for():
    with pytest.raises(ValueError, match=r"'timm:bottleneck' is built for maps of one size.*size=\(height, width\)"):
        create_attention("timm:bottleneck", 8)


def test_ge_where_timm_fails_to_build_it(monkeypatch):
    def broken(channels, **options):
        raise TypeError("got multiple values for argument 'act_layer'")

    monkeypatch.setattr("timm.layers.get_attn", lambda name: broken)
    with pytest.raises(
        RuntimeError, match=rf"timm {timm.__version__} knows 'ge' and fails to build it .got multiple.*saam.list"
    ):
        create_attention("timm:ge", 8)
