"""Optional packages that are not there are named, with the extra that has them."""

import sys

import pytest
import torch

from saam.explain import explain, grad_cam
from saam.explain.imputation import impute
from saam.explain.page import environment
from saam.explain.sanity import rank_correlation
from saam.models import Preprocessing, create_model


def without(monkeypatch, package):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize("package", ["captum", "matplotlib", "jinja2", "scipy"])
def test_the_extra_is_named(package, monkeypatch):
    model = create_model("resnet8", width=4, num_classes=2)
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    found = explain(
        model, images, preprocessing=Preprocessing(size=(8, 8), mean=(0.5,) * 3, std=(0.5,) * 3, classes=("a", "b"))
    )
    environment.cache_clear()
    needs = {
        "captum": [lambda: grad_cam(model, images.float(), torch.tensor([0]))],
        "matplotlib": [found.to_png],
        "jinja2": [environment],
        "scipy": [
            lambda: impute(images.float(), torch.zeros(1, 8, 8, dtype=torch.bool)),
            lambda: rank_correlation(torch.rand(1, 2, 2), torch.rand(1, 2, 2)),
        ],
    }
    without(monkeypatch, package)
    for call in needs[package]:
        with pytest.raises(ModuleNotFoundError, match=rf"needs? {package}: pip install 'saam\[explain\]'"):
            call()
