"""The measures together; each is tested by hand in its own file."""

import pytest
import torch

from saam.explain import trust
from saam.explain.compared import compared_maps
from saam.explain.localisation import pointing_game
from saam.explain.sanity import rank_correlation
from saam.models import Preprocessing, create_model
from saam.nn import ScorePool2d

PREPROCESSING = Preprocessing(size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3, classes=("a", "b"))
IMAGES = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MASKS = torch.zeros(3, 8, 8, dtype=torch.bool)
MASKS[:, 2:6, 2:5] = True


def network(seed, attention="saam"):
    model = create_model("resnet8", attention=attention, width=4, num_classes=2, seed=seed)
    for pool in (module for module in model.modules() if isinstance(module, ScorePool2d)):
        torch.nn.init.normal_(pool.weight)
    model.preprocessing = PREPROCESSING
    return model


def test_every_measure_has_a_value_for_each_network_and_image():
    networks = {4: network(0), 7: network(1), 9: network(2)}
    steps = []
    found = trust(networks, IMAGES, labels=torch.tensor([0, 1, 1]), masks=MASKS, progress=steps.append)
    assert found.seeds == (4, 7, 9)
    assert steps[0] == "seed 4"
    assert {name: {values.shape for values in by.values()} for name, by in found.values.items()} == {
        name: {(3, 3)}
        for name in (
            "pointing game",
            "weight on object",
            "insertion",
            "deletion",
            "ROAD",
            "weights shuffled",
            "classifier shuffled",
            "between seeds",
        )
    }
    x = PREPROCESSING(IMAGES)
    classes = [model.eval()(x).argmax(1) for model in networks.values()]
    assert found.accuracy == tuple(float((each == torch.tensor([0, 1, 1])).float().mean()) for each in classes)
    maps = [compared_maps(model, x, each) for model, each in zip(networks.values(), classes, strict=True)]
    hits = pointing_game(maps[1]["Grad-CAM"][:, None], MASKS)[:, 0]
    assert found.values["pointing game"]["Grad-CAM"][1].tolist() == hits.tolist()
    pair = rank_correlation(maps[0]["scores, last site"], maps[2]["scores, last site"])
    assert found.values["between seeds"]["scores, last site"][1].tolist() == pytest.approx(pair.tolist())
    assert found.values["weight on object"]["uniform"].numpy() == pytest.approx(1, abs=1e-5)
    assert found.values["classifier shuffled"]["scores, first site"].numpy() == pytest.approx(1)
    assert repr(found).endswith("between seeds; 3 networks, 3 images)")
    assert "<td>1.00</td>" in found._repr_html_()


def test_without_masks_and_seeds_there_are_fewer_measures():
    found = trust(network(0, "se"), IMAGES)
    assert list(found.values) == ["insertion", "deletion", "ROAD", "weights shuffled", "classifier shuffled"]
    assert list(found.values["ROAD"]) == ["Grad-CAM", "integrated gradients", "uniform", "centre"]
    assert found.accuracy is None


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="a network and two images or more, got 1 and 1"):
        trust(network(0), IMAGES[:1])
    with pytest.raises(ValueError, match=r"masks of 8 x 8 pixels, which the network takes, got \(8, 8\) and \(4, 4\)"):
        trust(network(0), IMAGES, masks=MASKS[:, ::2, ::2])
    with pytest.raises(ValueError, match=r"masks \[1\] are empty"):
        trust(network(0), IMAGES, masks=MASKS * torch.tensor([1, 0, 1], dtype=torch.bool).view(3, 1, 1))
    with pytest.raises(ValueError, match="pass preprocessing="):
        trust(create_model("resnet8", width=4), IMAGES)


def test_without_a_feature_map_grad_cam_is_left_out():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
    steps = []
    found = trust({0: model, 1: model}, IMAGES, preprocessing=PREPROCESSING, progress=steps.append)
    assert found.values["insertion"].keys() == {"integrated gradients", "uniform", "centre"}
    assert found.values["between seeds"].keys() == {"integrated gradients"}
    assert steps[1].startswith("There is no Grad-CAM")
