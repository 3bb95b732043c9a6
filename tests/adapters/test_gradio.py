"""The Gradio demo as a user starts it, in headless Chromium, over loopback alone."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from gradio_client import Client, handle_file
from hub_server import free_port
from playwright.sync_api import expect, sync_playwright
from processes import environment

from qfm_metric import load_image
from qfm_metric.bands import band

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
def demo(tiny_files, tmp_path_factory):
    """Address of the running demo; afterwards its messages show that it used no network."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "sitecustomize.py").write_text(RECORDER)
    variables = environment(folder) | {"GRADIO_TEMP_DIR": str(folder / "uploads")}
    variables.pop("GRADIO_ANALYTICS_ENABLED", None)  # the demo itself switches it off
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, str(DEMO), "--weights", str(tiny_files[0]), "--port", str(port)]
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


@pytest.mark.browser
def test_a_picture_gets_its_score_and_word(page, tiny, photo_path):
    value = tiny(load_image(photo_path)).item()
    page.locator("input[type=file]").set_input_files(photo_path)
    expect(page.get_by_label("Score")).to_have_value(str(round(value, 3)), timeout=PATIENCE * 1000)
    expect(page.get_by_label("In a word")).to_have_value(band(value))
    assert page.refused == []  # the page is whole without any other machine


@pytest.mark.browser
def test_a_damaged_picture_is_explained(page, photo_path, tmp_path):
    (tmp_path / "cut.png").write_bytes(Path(photo_path).read_bytes()[:5000])
    page.locator("input[type=file]").set_input_files(tmp_path / "cut.png")
    expect(page.get_by_text("expected a whole picture")).to_be_visible(timeout=PATIENCE * 1000)
    expect(page.get_by_label("In a word")).to_have_value("")


def test_files_are_scored_as_they_came(demo, tiny, tmp_path, photo_path):
    """Turned by EXIF, and a JPEG: no second compression, no orientation lost."""
    from PIL import Image

    with Image.open(photo_path) as picture:
        exif = picture.getexif()
        exif[274] = 6
        picture.crop((0, 0, 300, 200)).save(tmp_path / "turned.jpg", exif=exif, quality=60)
    client = Client(demo, verbose=False)
    value, _ = client.predict(handle_file(tmp_path / "turned.jpg"), api_name="/score")
    client.close()
    assert value == round(tiny(load_image(tmp_path / "turned.jpg")).item(), 3)
