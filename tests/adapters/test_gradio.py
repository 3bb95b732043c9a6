"""The Gradio demo as a user starts it, in headless Chromium, over loopback alone."""

import re
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
import torch
from gradio_client import Client, handle_file
from helpers.hub_server import free_port
from helpers.processes import environment
from helpers.published import TINY
from PIL import Image, ImageChops
from playwright.sync_api import expect, sync_playwright

from qfm_metric import QFMScore, load_image
from qfm_metric.config import QFMConfig
from qfm_metric.model import QFMNet
from qfm_metric.overlay import draw_overlay
from qfm_metric.scale import band
from qfm_metric.weights import save_weights

DEMO = Path(__file__).parents[2] / "examples" / "gradio_demo.py"
PATIENCE = 240  # seconds that a crowded machine may take for what takes a few

# Loaded by the demo's Python before anything else: notes every address beside this machine that it wants.
RECORDER = """
import sys

def note(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple) and arguments[1][0] not in ("127.0.0.1", "::1"):
        print("reached out:", arguments[1], file=sys.stderr, flush=True)
    if event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", "localhost", "0.0.0.0", "::1", None):
        print("reached out:", arguments[0], file=sys.stderr, flush=True)

sys.addaudithook(note)
print("taking notes", file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The file of a small network that predicts how sure it is."""
    config, path = TINY | {"uncertainty": True}, tmp_path_factory.mktemp("unsure") / "unsure.safetensors"
    torch.manual_seed(0)
    save_weights(path, config, QFMNet(QFMConfig(**config)).state_dict(), torch.float32)
    return path


@pytest.fixture(scope="module")
def unsure(weights):
    return QFMScore.from_pretrained(weights)


@pytest.fixture(scope="module")
def demo(weights, tmp_path_factory):
    """Address of the running demo; afterwards its messages show that it used no network."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "sitecustomize.py").write_text(RECORDER)
    variables = environment(folder) | {"GRADIO_TEMP_DIR": str(folder / "uploads")}
    variables.pop("GRADIO_ANALYTICS_ENABLED", None)  # the demo itself switches it off
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, str(DEMO), "--weights", str(weights), "--port", str(port)]
    with open(folder / "messages", "w") as messages:
        process = subprocess.Popen(command, env=variables, cwd=folder, stdout=messages, stderr=messages)
        try:
            wait_for(address, process, folder / "messages")
            yield address
        finally:
            process.kill()
            process.wait()
    notes = (folder / "messages").read_text()
    assert "taking notes" in notes
    assert "reached out" not in notes


def wait_for(address, process, messages):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert process.poll() is None, messages.read_text()
        try:
            return urlopen(address, timeout=10).close()
        except (URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(messages.read_text())


@pytest.fixture
def page(demo):
    """The open demo; `page.refused` lists the hosts beside this machine that it asked for."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no Chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = chromium.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.refused = []

        def guard(route):
            host = urlsplit(route.request.url).hostname
            if host == "127.0.0.1":
                return route.continue_()
            page.refused.append(host)
            return route.abort()

        page.route("**/*", guard)
        page.goto(demo)
        yield page
        chromium.close()


@pytest.mark.slow
@pytest.mark.browser
def test_a_picture_gets_its_score_word_uncertainty_and_map(page, unsure, photo_path):
    found = unsure.assess(load_image(photo_path))
    page.locator("input[type=file]").set_input_files(photo_path)
    expect(page.get_by_label("Score")).to_have_value(str(round(found.score.item(), 3)), timeout=PATIENCE * 1000)
    expect(page.get_by_label("In a word")).to_have_value(found.band[0])
    low, high = (f"{end.item():.2f}" for end in found.interval())
    expect(page.get_by_label("Uncertainty")).to_have_value(
        re.compile(rf"± {found.std.item():.3f}: .* between {low} and {high} with 68 % probability")
    )
    shown = page.locator("img[src$='image.png']")
    expect(shown).to_be_visible()
    overlay = draw_overlay(load_image(photo_path), found.quality_map[0], found.score.item())
    with urlopen(shown.get_attribute("src"), timeout=PATIENCE) as answer, Image.open(answer) as picture:
        assert ImageChops.difference(picture.convert("RGB"), overlay).getbbox() is None
    assert page.refused == []  # the page is whole without any other machine


@pytest.mark.slow
@pytest.mark.browser
def test_a_damaged_picture_is_explained(page, photo_path, tmp_path):
    (tmp_path / "cut.png").write_bytes(Path(photo_path).read_bytes()[:5000])
    page.locator("input[type=file]").set_input_files(tmp_path / "cut.png")
    expect(page.get_by_text("expected a whole PNG")).to_be_visible(timeout=PATIENCE * 1000)
    expect(page.get_by_label("In a word")).to_have_value("")
    expect(page.get_by_label("Uncertainty")).to_have_value("")


@pytest.mark.slow
def test_files_are_scored_as_they_came(demo, unsure, tmp_path, photo_path):
    """Turned by EXIF, and a JPEG: no second compression, no orientation lost."""
    with Image.open(photo_path) as picture:
        exif = picture.getexif()
        exif[274] = 6
        picture.crop((0, 0, 300, 200)).save(tmp_path / "turned.jpg", exif=exif, quality=60)
    client = Client(demo, verbose=False)
    value, *_ = client.predict(handle_file(tmp_path / "turned.jpg"), api_name="/score")
    client.close()
    assert value == round(unsure(load_image(tmp_path / "turned.jpg")).item(), 3)


@pytest.mark.slow
def test_weights_that_predict_no_uncertainty(tiny, photo_path):
    value, word, sure, _ = runpy.run_path(str(DEMO))["explain"](tiny, photo_path)
    assert sure == "these weights predict none"
    assert word == band(value)
