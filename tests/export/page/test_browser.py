"""The page in a real browser: Debian's chromium, without graphics processor and network."""

import copy
import io
import json
import shutil

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import saam
from saam.export.page import Sample, runtime, serving, write_page
from saam.models import Preprocessing
from saam.nn import ScorePool2d

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PACKAGE = runtime.package_file()  # before other tests set a cache folder of their own

pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no chromium here"),
    pytest.mark.skipif(not PACKAGE.is_file(), reason="onnxruntime-web is not in the cache folder"),
]

SIZE = (24, 32)
CLASSES = ("cat", "dog", "bird")
PREPROCESSING = Preprocessing(SIZE, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), CLASSES)


def picture(height, width, seed=0):
    """Return a smooth random image, uint8 (3, H, W)."""
    coarse = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    return (255 * F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1))[0].to(torch.uint8)


def png(image):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "png")
    return {"name": "picture.png", "mimeType": "image/png", "buffer": file.getvalue()}


def expected(network, image):
    with torch.no_grad():
        return network(PREPROCESSING(image)).softmax(1)[0]


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = saam.create_model("resnet8", attention="saam,heads=2", width=8, num_classes=3).eval()
        for module in made.modules():
            if isinstance(module, ScorePool2d):
                nn.init.normal_(module.weight, std=2)
        nn.init.normal_(made.get_submodule("fc").weight, std=0.5)
    return made


@pytest.fixture(scope="module")
def folder(network, tmp_path_factory):
    samples = [Sample(picture(*SIZE, seed=seed), CLASSES[seed]) for seed in range(3)]
    folder = tmp_path_factory.mktemp("page") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "package_file", lambda: PACKAGE)
        write_page(network, folder, preprocessing=PREPROCESSING, samples=samples, title="a network")
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with serving(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as play:
        flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = play.chromium.launch(executable_path=BROWSER, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    page = browser.new_page()
    page.set_default_timeout(60_000)
    yield page
    page.close()


@pytest.fixture(scope="module")
def loaded(browser, address):
    """One page for all tests that start from what it shows first."""
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    yield page
    page.close()


@pytest.fixture
def opened(loaded):
    """The page with the first sample, the middle of the slider and the last site."""
    loaded.fill("#sharpness", "50")
    loaded.click("#sites label:last-child")
    loaded.select_option("#head", "-1")
    computed_again(loaded, lambda: loaded.click("#samples button:first-child"))
    return loaded


def probabilities(page):
    return torch.tensor(json.loads(page.get_attribute("body", "data-probabilities")))


def pixels(page):
    """Return the large picture, reduced to (48, 64, 4)."""
    shown = page.evaluate(
        "() => { const small = new OffscreenCanvas(64, 48).getContext('2d');"
        " small.drawImage(document.getElementById('picture'), 0, 0, 64, 48);"
        " return Array.from(small.getImageData(0, 0, 64, 48).data) }"
    )
    return torch.tensor(shown).view(48, 64, 4)


def computed_again(page, act):
    """Do something, and wait for the prediction that follows."""
    page.evaluate("() => { delete document.body.dataset.probabilities }")
    act()
    page.wait_for_selector("body[data-probabilities]")


def choose(page, file):
    computed_again(page, lambda: page.set_input_files("#file", file))


def slide(page, value):
    computed_again(page, lambda: page.fill("#sharpness", str(value)))


@pytest.mark.parametrize("shape", [(24, 32), (57, 83), (300, 200), (24, 40), (10, 12), (31, 977)], ids=str)
def test_a_file_gets_the_prediction_of_pytorch(opened, network, shape):
    image = picture(*shape, seed=5)
    choose(opened, png(image))
    torch.testing.assert_close(probabilities(opened), expected(network, image), rtol=0, atol=1e-3)


def test_a_sample_is_shown_at_once_and_others_can_be_chosen(opened, network):
    torch.testing.assert_close(probabilities(opened), expected(network, picture(*SIZE, seed=0)), rtol=0, atol=1e-3)
    computed_again(opened, lambda: opened.click("#samples button:nth-child(3)"))
    wanted = expected(network, picture(*SIZE, seed=2))
    torch.testing.assert_close(probabilities(opened), wanted, rtol=0, atol=1e-3)
    best = int(wanted.argmax())
    assert opened.inner_text("#classes li:first-child .name") == CLASSES[best]
    assert opened.inner_text("#classes li:first-child .share") == f"{100 * float(wanted[best]):.1f} %"
    assert opened.get_attribute("#samples button:nth-child(3) img", "alt") == "Test image 3, of class bird"


def test_the_maps_are_drawn(opened):
    shown = pixels(opened)
    assert (shown[..., 3] == 255).all()
    assert len(shown.flatten(0, 1).unique(dim=0)) > 100
    assert opened.locator("#sites canvas").count() == 3
    assert "times the weight of the mean" in opened.inner_text("#caption")


def largest_weights(network, image):
    """Return for each site the largest weight relative to the mean, in the mean over the heads."""
    maps = saam.score_maps(network, PREPROCESSING(image))
    return {site: float(weights.mean(1).max() * weights[0, 0].numel()) for site, weights in maps.items()}


def test_the_page_opens_on_the_site_with_the_largest_weight(page, address, network):
    largest = largest_weights(network, picture(*SIZE, seed=0))
    best = max(largest, key=largest.__getitem__)
    assert best != list(largest)[-1]
    page.goto(address)
    page.wait_for_selector("body[data-probabilities]")
    assert page.locator("#sites input:checked").evaluate_all("all => all.map(one => one.value)") == [best]
    assert (
        page.inner_text("#caption")
        == f"{best}: the brightest pixel has {largest[best]:.1f} times the weight of the mean"
    )


def test_a_choice_of_the_site_is_kept(opened):
    last = opened.get_attribute("#sites label:last-child input", "value")
    computed_again(opened, lambda: opened.click("#samples button:nth-child(2)"))
    assert opened.inner_text("#caption").startswith(f"{last}: ")


def test_a_flat_map_points_to_another_site(page, network, tmp_path):
    flat = copy.deepcopy(network)
    nn.init.zeros_([module for module in flat.modules() if isinstance(module, ScorePool2d)][-1].weight)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "package_file", lambda: PACKAGE)
        sample = Sample(picture(*SIZE), "cat")
        folder = write_page(flat, tmp_path / "site", preprocessing=PREPROCESSING, samples=[sample]).folder
    with serving(folder) as address:
        page.goto(address)
        page.wait_for_selector("body[data-probabilities]")
        assert "choose another" not in page.inner_text("#caption")
        page.click("#sites label:last-child")
        assert page.inner_text("#caption").endswith(
            "nearly the mean, all pixels count alike; choose another site below"
        )
        slide(page, 0)
        assert page.inner_text("#caption").endswith("nearly the mean, all pixels count alike")


def test_the_slider_goes_from_the_mean_to_the_maximum(opened, network):
    image = picture(*SIZE, seed=0)
    trained, drawn = probabilities(opened), pixels(opened)
    for place, factor in ((0, 0.0), (75, 9.0), (100, 1e4)):
        changed = {
            name: value * (factor if name.endswith("squeeze.weight") else 1)
            for name, value in network.named_parameters()
        }
        with torch.no_grad():
            logits = torch.func.functional_call(network, changed, PREPROCESSING(image))
        slide(opened, place)
        torch.testing.assert_close(probabilities(opened), logits.softmax(1)[0], rtol=0, atol=1e-5)
        assert (probabilities(opened) - trained).abs().max() > 1e-4
        assert (pixels(opened) != drawn).any()
    slide(opened, 0)
    assert "nearly the mean" in opened.inner_text("#caption")
    assert opened.get_attribute("#sharpness", "aria-valuetext") == "infinite, the mean"
    computed_again(opened, lambda: opened.click("#reset"))
    torch.testing.assert_close(probabilities(opened), trained)
    assert (pixels(opened) == drawn).all()


def test_sites_and_heads_change_the_map(opened):
    before = pixels(opened)
    opened.focus("#sites input:checked")
    opened.keyboard.press("ArrowLeft")
    assert opened.inner_text("#caption").startswith("layer2.0.bn2: ")
    other = pixels(opened)
    assert (other != before).any()
    opened.select_option("#head", "1")
    assert (pixels(opened) != other).any()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"name": "a.txt", "mimeType": "text/plain", "buffer": b"hello"}, "“a.txt” is not an image: choose a PNG"),
        (
            {"name": "b.png", "mimeType": "image/png", "buffer": b"\x89PNG\r\n"},
            "“b.png” cannot be decoded: it is damaged",
        ),
    ],
)
def test_a_wrong_file_is_refused_and_the_next_one_taken(opened, file, message):
    opened.set_input_files("#file", file)
    opened.wait_for_selector("#message:not([hidden])")
    assert opened.inner_text("#message").startswith(message)
    choose(opened, png(picture(40, 40)))
    assert opened.locator("#message").is_hidden()


def test_a_network_without_scores_shows_the_image_and_no_maps(page, tmp_path):
    plain = saam.create_model("resnet8", attention="se", width=4, num_classes=3, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "package_file", lambda: PACKAGE)
        folder = write_page(plain, tmp_path / "site", preprocessing=PREPROCESSING).folder
    with serving(folder) as address:
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        assert page.inner_text("#caption").startswith("No image yet")
        choose(page, png(picture(50, 60)))
        assert "no score maps" in page.inner_text("#caption")
        assert page.locator("#maps").is_hidden()
        assert page.locator("#pooling").is_hidden()
        assert len(pixels(page).flatten(0, 1).unique(dim=0)) > 100


def test_a_photograph_is_taken(opened):
    opened.click("#camera")
    opened.wait_for_selector("#camera-view:not([hidden])")
    computed_again(opened, lambda: opened.click("#shoot"))
    assert opened.locator("#camera-view").is_hidden()
    assert opened.get_attribute("#picture", "aria-label").startswith("Photograph, with the score map of ")


def refusal(name):
    return f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('', '{name}') }}"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (refusal("NotFoundError"), "No camera was found"),
        (refusal("NotAllowedError"), "allow it for this page"),
        (refusal("NotReadableError"), "used by another program"),
        (refusal("AbortError"), "cannot be used (AbortError)"),
        ("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })", "https or localhost"),
    ],
)
def test_a_missing_camera_is_explained(page, address, script, message):
    page.add_init_script(script)
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    page.click("#camera")
    page.wait_for_selector("#message:not([hidden])")
    assert message in page.inner_text("#message")


def test_nothing_is_loaded_from_elsewhere_and_the_backend_is_named(page, address):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector("body[data-probabilities]")
    assert "WebAssembly" in page.inner_text("#backend")
    assert "model.onnx" in " ".join(asked)
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


def test_a_page_opened_as_a_file_says_how_to_serve_it(page, folder):
    page.goto((folder / "index.html").as_uri())
    page.wait_for_selector("#message:not([hidden])")
    assert "python -m http.server" in page.inner_text("#message")


@pytest.mark.parametrize(
    ("script", "missing", "message"),
    [
        ("delete globalThis.WebAssembly", None, "no WebAssembly"),
        ("", "model.onnx", "model.onnx cannot be loaded: the server answers 404"),
        ("", "page.json", "page.json cannot be loaded"),
        ("", "ort-wasm-simd-threaded.wasm", "The network cannot be started"),
    ],
)
def test_what_cannot_start_says_why(page, address, script, missing, message):
    page.add_init_script(script)
    if missing:
        page.route(f"**/{missing}", lambda route: route.fulfill(status=404))
    page.goto(address)
    page.wait_for_selector("#message:not([hidden])")
    assert message in page.inner_text("#message")
