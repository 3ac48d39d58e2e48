import torch

from saam.comparison.network import build_model
from saam.models import create_model


def test_models_are_built_as_the_plan_says(make_plan):
    plan = make_plan(model="resnet14", start="identity")
    model = build_model(plan, "se", seed=5, classes=7)
    expected = create_model("resnet14", attention="se", num_classes=7, start="identity", seed=5, width=8, stem_stride=2)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert str(model) == str(expected)
    assert torch.equal(model.eval()(x), expected.eval()(x))
