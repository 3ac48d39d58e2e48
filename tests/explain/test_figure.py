"""The picture and the page of an explanation."""

import html
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from saam.explain import explain
from saam.explain.drawing import percent
from saam.explain.page import fragment
from saam.models import Preprocessing, create_model
from saam.nn import ScorePool2d

CLASSES = ("<b>cat</b>", "$dog$", "a class with a name that is much too long for the column of one picture")


@pytest.fixture(scope="module")
def found():
    torch.manual_seed(0)
    model = create_model("resnet8", attention="saam,heads=2", width=8, num_classes=3, seed=0)
    for pool in (module for module in model.modules() if isinstance(module, ScorePool2d)):
        torch.nn.init.normal_(pool.weight, std=3.0)
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    prepare = Preprocessing(size=(16, 16), mean=(0.5,) * 3, std=(0.25,) * 3, classes=CLASSES)
    return explain(
        model, images, preprocessing=prepare, names=[r"x_$\frac$.png", "y"], truths=["$dog$", CLASSES[0]], title="t"
    )


def test_rows_follow_sites_and_heads(found):
    sites = list(found.scores)
    assert [row.name for row in found.drawing().maps] == [*sites, "Grad-CAM", "integrated gradients"]
    heads = found.drawing(sites=sites[:1], heads=True).maps
    assert [row.name for row in heads[:2]] == [f"{sites[0]}, head 1", f"{sites[0]}, head 2"]
    assert torch.equal(heads[1].maps, found.scores[sites[0]][:, 1])
    assert torch.equal(found.drawing().maps[0].maps, found.scores[sites[0]].mean(1))
    with pytest.raises(ValueError, match=r"unknown site 'layer9': .*known: layer1"):
        found.drawing(sites=["layer9"])


def test_gates_are_sorted_by_their_mean(found):
    row = found.drawing().gates[0]
    assert (row.factors.mean(0).diff() <= 1e-6).all()
    assert sorted(row.factors[1].tolist()) == pytest.approx(sorted(found.gates[row.site][1].tolist()))


def test_wrong_predictions_name_the_truth(found):
    drawing = found.drawing()
    assert drawing.names == found.names
    rows = zip(drawing.predictions, drawing.wrong, found.truths, found.predictions, strict=True)
    for text, wrong, truth, (guess, p) in rows:
        assert text == f"{guess}, {percent(p)}" + (f" (true: {truth})" if truth != guess else "")
        assert wrong == (truth != guess)


def test_the_most_probable_classes_are_listed(found):
    drawing = found.drawing()
    for listed, row in zip(drawing.likely, found.probabilities, strict=True):
        best = row.sort(descending=True)
        expected = [
            f"{found.classes[i]}: {percent(p)}" for i, p in zip(best.indices, best.values.tolist(), strict=True)
        ]
        assert list(listed) == expected[:3]
    assert drawing.notes == found.notes
    assert f"Most probable: {html.escape(', '.join(drawing.likely[0]))}" in found.to_html()


def test_small_probabilities_have_a_decimal():
    assert [percent(p) for p in (0.996, 0.1, 0.0963, 0.0004)] == ["100 %", "10 %", "9.6 %", "0.0 %"]


def test_the_picture_grows_with_its_rows_and_says_what_wrote_it(found):
    small, large = (
        Image.open(io.BytesIO(found.to_png(sites=[next(iter(found.scores))], heads=heads))) for heads in (False, True)
    )
    assert small.info["Software"] == "saam explain"
    assert small.width > 2 * 200
    assert large.height > small.height + 150
    assert found._repr_png_().startswith(b"\x89PNG")


def test_nothing_is_cut_off(found):
    picture = torch.from_numpy(np.array(Image.open(io.BytesIO(found.to_png())).convert("L")))
    edges = (picture[:4], picture[-4:], picture[:, :4], picture[:, -4:])
    assert all((edge == 255).all() for edge in edges)


def test_the_page_needs_nothing_else_and_escapes_names(found):
    page = found.to_html()
    assert "<b>cat</b>" not in page
    assert "&lt;b&gt;cat&lt;/b&gt;" in page
    assert page.count("<h2>") == 3
    assert all(source.startswith("data:image/png;base64,") for source in re.findall(r'src="([^"]{22})', page))
    assert '<meta name="generator" content="saam explain">' in page
    assert "<html" not in fragment(found.drawing())
    assert fragment(found.drawing()) in page
