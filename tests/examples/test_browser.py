"""The page of examples/browser in headless Chromium: the score of Python, and nothing sent anywhere.

`npm ci --ignore-scripts && npm run build` in that folder makes `site`, which is served here from loopback.
"""

import base64
import functools
import http.server
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.pictures import save, srgb_profile, swapped_profile
from PIL import Image

from qfm_metric import load_image

SITE = Path(__file__).parents[2] / "examples" / "browser" / "site"
CHROMIUM = shutil.which("chromium")
PIXELS_ALIKE = 1e-3
DECODERS_DIFFER = 5e-3
BLENDING_DIFFERS = 1e-2  # a canvas keeps colours multiplied by their opacity, in 8 bits
pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium"),
    pytest.mark.skipif(not (SITE / "ort.wasm.bundle.min.mjs").exists(), reason="examples/browser is not built"),
]


@pytest.fixture(scope="module")
def address(released_onnx, tmp_path_factory):
    """A plain static file server for a copy of the site, with the default weights."""
    folder = shutil.copytree(SITE, tmp_path_factory.mktemp("web") / "site", ignore=shutil.ignore_patterns("*.onnx"))
    shutil.copy(released_onnx, folder / "model.onnx")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    switches = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield running
        running.close()


@pytest.fixture
def page(browser, address):
    """The page, ready; whatever it asks for and complains of is kept."""
    found = browser.new_page()
    found.set_default_timeout(240_000)  # nobody waits for this long, a busy machine may
    found.requests, found.complaints = [], []
    found.on("request", lambda request: found.requests.append((request.method, request.url)))
    found.on("console", lambda message: found.complaints.append(message.text))
    found.on("pageerror", lambda error: found.complaints.append(str(error)))
    found.goto(address)
    found.wait_for_function("document.getElementById('status').textContent === ''")
    yield found
    found.close()


def scores(page, count):
    page.wait_for_function("count => document.querySelectorAll('#results li').length === count", arg=count)
    rows = page.eval_on_selector_all("#results li", "rows => rows.map(row => [row.innerText, row.dataset.score])")
    return [(text.splitlines()[0], score and float(score)) for text, score in reversed(rows)]


def test_chosen_pictures_get_the_scores_of_python(page, address, metric, photo_path, tmp_path):
    """PNG with and without a profile and transparency; JPEG, upright and turned; more than one at a time."""
    photo = Image.open(photo_path).convert("RGB")
    profiles = {"srgb.png": srgb_profile(), "swapped.png": swapped_profile()}
    paths = [save(photo, tmp_path / name, icc_profile=profile) for name, profile in profiles.items()]
    faded = photo.resize((333, 222))
    faded.putalpha(Image.fromarray(np.linspace(0, 255, 333 * 222).astype(np.uint8).reshape(222, 333)))
    paths += [
        Path(photo_path),
        save(faded, tmp_path / "faded.png"),
        save(photo.crop((0, 0, 9, 50)), tmp_path / "s.png"),
    ]
    turned = photo.getexif()
    turned[0x0112] = 6  # to be shown a quarter turn clockwise
    paths.append(save(photo.crop((0, 0, 500, 300)), tmp_path / "turned.jpg", quality=90, exif=turned))

    page.set_input_files("#files", paths)
    found = scores(page, len(paths))
    assert [name for name, _ in found] == [path.name for path in paths]
    for path, (_, score) in zip(paths, found, strict=True):
        tolerance = {"turned.jpg": DECODERS_DIFFER, "faded.png": BLENDING_DIFFERS}.get(path.name, PIXELS_ALIKE)
        assert score == pytest.approx(metric(load_image(path)).item(), abs=tolerance), path.name
    assert page.complaints == []
    asked = {url.removeprefix(address) for method, url in page.requests if method == "GET" and url.startswith(address)}
    assert {"/", "/score.js", "/model.onnx"} <= asked
    # Pictures are read as blobs of the page itself, if they are requests at all.
    others = [(method, url) for method, url in page.requests if method != "GET" or not url.startswith(address)]
    assert all(method == "GET" and url.startswith(("blob:", "data:")) for method, url in others)


def test_dropped_pictures(page, metric, photo_path):
    """A drop as the browser reports it; what is no picture gets its message, the rest are scored."""
    script = """content => {
        const dropped = new DataTransfer();
        dropped.items.add(new File(["no picture"], "notes.txt"));
        dropped.items.add(new File([Uint8Array.from(atob(content), c => c.charCodeAt(0))], "photo.png"));
        document.getElementById("drop").dispatchEvent(
            new DragEvent("drop", {dataTransfer: dropped, bubbles: true, cancelable: true}));
    }"""
    page.evaluate(script, base64.b64encode(Path(photo_path).read_bytes()).decode())
    found = scores(page, 2)
    assert found[0] == ("notes.txt: not a picture that this browser can read", None)
    assert found[1] == ("photo.png", pytest.approx(metric(load_image(photo_path)).item(), abs=PIXELS_ALIKE))
    assert page.text_content("#results li .score") == f"{found[1][1]:.3f}"


def test_a_page_without_its_model_says_so(browser, address):
    page = browser.new_page()
    page.route("**/model.onnx", lambda route: route.fulfill(status=404))
    page.goto(address)
    page.wait_for_function("document.getElementById('status').textContent.startsWith('Cannot load the network')")
    page.close()
