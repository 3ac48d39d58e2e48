"""What the package promises as a whole."""

import subprocess
import sys

import pytest
import torch

import saam

HEAVY = [
    "PIL",
    "accelerate",
    "altair",
    "captum",
    "cyclopts",
    "huggingface_hub",
    "jinja2",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pyarrow",
    "rich",
    "safetensors",
    "scipy",
    "sklearn",
    "timm",
    "torchvision",
    "vl_convert",
]


def test_import_loads_torch_and_nothing_else_heavy():
    code = (
        f"import sys, torch; before = set(sys.modules); import saam; print(*(set(sys.modules) - before) & set({HEAVY}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_all_but_training_and_comparing_needs_torch_alone():
    code = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import torch, saam
model = saam.create_model("resnet8", attention="saam", width=8)
assert set(saam.score_maps(model, torch.randn(1, 3, 8, 8))) == {site for site in saam.detach(model).sites}
saam.attach(model, "eca", squeeze="score")
for name in set(saam.__all__) - {"compare", "from_hub", "push_to_hub", "Metric"}:
    getattr(saam, name)
""".replace("EXTRAS", repr(HEAVY))
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    for name in saam.__all__:
        assert getattr(saam, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        saam.no_such_name  # noqa: B018


def test_timm_builds_runs_and_trains_with_saam():
    timm = pytest.importorskip("timm")
    model = timm.create_model("resnet50", num_classes=3, block_args={"attn_layer": saam.SAAM})
    attentions = [module for module in model.modules() if isinstance(module, saam.SAAM)]
    assert len(attentions) == 16
    assert all(not attention.squeeze.weight.any() for attention in attentions)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    torch.nn.functional.cross_entropy(model(torch.randn(2, 3, 64, 64)), torch.tensor([0, 2])).backward()
    optimizer.step()
    # the last norm of every branch starts at zero in timm, so that the first step reaches what follows it only
    torch.nn.functional.cross_entropy(model(torch.randn(2, 3, 64, 64)), torch.tensor([0, 2])).backward()
    optimizer.step()
    assert all(attention.squeeze.weight.any() for attention in attentions)
