import json

import torch

from saam import create_model
from saam.explain import observe


def test_what_is_observed_is_plain_and_empty_without_attention() -> None:
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    sites = {f"layer{stage}.0.bn2" for stage in (1, 2, 3)}
    assert observe(create_model("resnet8"), x) == {}
    assert observe(create_model("resnet8", attention="se"), x).keys() == {"gate_use"}
    assert observe(create_model("resnet8", head="score"), x).keys() == {"score_use"}
    model = create_model("resnet8", attention="saam", start="identity").train()
    observed = observe(model, x)
    assert model.training
    assert observed == json.loads(json.dumps(observed))
    assert observed["score_use"].keys() == observed["gate_use"].keys() == sites
    assert observed["score_use"]["layer1.0.bn2"] == {"share": 1.0, "lift": 1.0}
    assert observed["gate_use"]["layer1.0.bn2"] == {"change": 0.0, "factor": 1.0, "channels": 0.0, "images": 0.0}
