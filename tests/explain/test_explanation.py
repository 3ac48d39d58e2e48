"""What explain finds, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

from saam.explain import explain, gate_factors, score_maps
from saam.models import Preprocessing, create_model

PREPROCESSING = Preprocessing(size=(16, 16), mean=(0.5,) * 3, std=(0.25,) * 3, classes=("cat", "dog", "owl"))


def network(attention="saam"):
    return create_model("resnet8", attention=attention, width=8, num_classes=3, seed=0).train()


def images(count=3, size=(16, 16)):
    return torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8)


def test_maps_gates_and_predictions_are_those_of_the_network():
    model, pixels = network(), images()
    found = explain(model, pixels, preprocessing=PREPROCESSING, truths=["cat", None, "owl"], title="mine")
    assert all(module.training for module in model.modules())
    x, model = PREPROCESSING(pixels), model.eval()
    with torch.no_grad():
        expected = model(x).softmax(1)
    assert found.probabilities.numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    guess, p = found.predictions[1]
    assert guess == PREPROCESSING.classes[expected[1].argmax()]
    assert p == pytest.approx(expected[1].max().item())
    assert torch.equal(found.images, pixels)
    assert found.scores.keys() == score_maps(model, x).keys()
    assert all(torch.equal(maps, score_maps(model, x)[site]) for site, maps in found.scores.items())
    assert all(torch.equal(gates, gate_factors(model, x)[site]) for site, gates in found.gates.items())
    assert list(found.attributions) == ["Grad-CAM", "integrated gradients"]
    assert found.notes == ()
    assert repr(found) == "Explanation('mine': 3 images, 3 sites with score maps, 3 with gates)"


@pytest.mark.parametrize(("attention", "gates"), [("none", 0), ("se", 3)])
def test_a_network_without_scores_says_why_there_are_no_maps(attention, gates):
    found = explain(network(attention), images(), preprocessing=PREPROCESSING)
    assert found.scores == {}
    assert len(found.gates) == gates
    assert "no score maps: the network has no score squeeze" in found.notes[0]


def test_files_pictures_and_tensors_of_any_size(tmp_path):
    Image.new("RGB", (40, 64), "red").save(tmp_path / "red.png")
    given = [tmp_path / "red.png", Image.new("L", (8, 8), 255), images(1, (20, 30))[0]]
    found = explain(network(), given, preprocessing=PREPROCESSING)
    assert found.names == ("red.png", "image 2", "image 3")
    assert found.images.shape == (
        3,
        3,
        32,
        32,
    )  # the photograph has pixels enough to be shown at twice the input's size
    assert found.images[0, :, 5, 5].tolist() == [255, 0, 0]


def test_the_preprocessing_of_a_trained_network_is_used():
    model = network()
    with pytest.raises(ValueError, match=r"does not say how images become its input: pass preprocessing="):
        explain(model, images())
    model.preprocessing = PREPROCESSING
    assert explain(model, images()).classes == ("cat", "dog", "owl")


class Segmenter(nn.Module):
    def forward(self, x):
        return x


def test_mistakes_are_named():
    def made(given=None, model=None, **options):
        return explain(model or network(), images() if given is None else given, preprocessing=PREPROCESSING, **options)

    with pytest.raises(ValueError, match=r"expected logits \(3, 3\), one for each class, got \(3, 3, 16, 16\)"):
        made(model=Segmenter())
    with pytest.raises(ValueError, match="expected one image or more, got none"):
        made([])
    with pytest.raises(ValueError, match="or images of Pillow, got int"):
        made([1])
    with pytest.raises(ValueError, match="convert an image to RGB with 8 bits per colour"):
        made(images().float())
    with pytest.raises(ValueError, match="each of 3 images, got 1 names and 3 classes"):
        made(names=["one"])
    broken = network()
    with torch.no_grad():
        broken.conv1.weight.fill_(torch.nan)
    with pytest.raises(ValueError, match="logits are not finite"):
        made(model=broken)


def test_a_long_input_is_not_enlarged_without_bound():
    long = replace(PREPROCESSING, size=(8, 512))
    found = explain(network(), images(1, (400, 25600)), preprocessing=long)
    assert found.images.shape == (1, 3, 32, 2048)  # four times, not the 32 times that the shorter side allows


def test_one_image_needs_no_list(tmp_path):
    Image.new("RGB", (40, 64), "red").save(tmp_path / "red.png")
    photograph = Image.new("L", (8, 8), 255)
    for image in (str(tmp_path / "red.png"), tmp_path / "red.png", photograph, images(1)[0]):
        one = explain(network(), image, preprocessing=PREPROCESSING)
        listed = explain(network(), [image], preprocessing=PREPROCESSING)
        assert one.names == listed.names
        assert torch.equal(one.images, listed.images)
    with pytest.raises(ValueError, match=r"expected images of uint8 .* got torch.uint8 \(16, 16\)"):
        explain(network(), images(1)[0, 0], preprocessing=PREPROCESSING)


def test_without_a_feature_map_there_is_no_grad_cam():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))
    found = explain(model, images(), preprocessing=PREPROCESSING)
    assert list(found.attributions) == ["integrated gradients"]
    assert found.notes[1].startswith("There is no Grad-CAM: no module of the network has a feature map")
    assert "There is no Grad-CAM" in found.to_html()
    assert found.to_png().startswith(b"\x89PNG")
