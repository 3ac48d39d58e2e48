"""Files of torch.export: they load without saam, with their preprocessing."""

import json

import torch

import saam
from saam.export import to_torch_export
from small_networks import SMALL, tiny


def test_the_loaded_program_computes_logits_and_maps(tmp_path):
    network = tiny()
    exported = to_torch_export(network, tmp_path / "net.pt2", maps=True)
    assert exported.axes == ("batch", "height", "width")
    assert exported.difference < 1e-5
    extra = {"preprocessing": "", "saam": ""}
    program = torch.export.load(exported.path, extra_files=extra).module()
    assert json.loads(extra["preprocessing"]) == SMALL.to_json()
    assert extra["saam"] == saam.__version__
    for x in (torch.randn(1, 3, 16, 20), torch.randn(5, 3, 24, 12)):
        with torch.no_grad():
            found = program(x)
            torch.testing.assert_close(found["logits"], network(x))
        maps = saam.score_maps(network, x)
        assert list(found) == ["logits", *maps] == list(exported.outputs)
        for site, weights in maps.items():
            torch.testing.assert_close(found[site], weights)
