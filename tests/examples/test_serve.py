"""examples/serve.py as a process, over loopback: what it answers, what it refuses, and that it stays well."""

import http.client
import io
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.generated_files import bomb
from helpers.hub_server import free_port
from helpers.processes import environment
from PIL import Image

from qfm_metric import QFMScore, load_image

SERVE = Path(__file__).parents[2] / "examples" / "serve.py"
PATIENCE = 240  # seconds that a crowded machine may take for what takes a few
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def port(tiny_files):
    """Of a service with small limits: 1 MB, 0.3 megapixels, uploads of 2 s, 6 places."""
    port = free_port()
    limits = ["--megabytes", "1", "--megapixels", "0.3", "--upload-seconds", "2", "--waiting", "6"]
    process = subprocess.Popen(
        [sys.executable, str(SERVE), "--port", str(port), "--weights", str(tiny_files[0]), *limits],
        env=environment(),
        stderr=subprocess.PIPE,
    )
    for _ in range(PATIENCE * 10):
        try:
            if ask(port, "GET", "/health")[0] == 200:
                break
        except OSError:
            assert process.poll() is None
            time.sleep(0.1)
    yield port
    assert process.poll() is None  # nothing has ended it
    process.terminate()
    _, said = process.communicate(timeout=PATIENCE)
    assert b"Traceback" not in said, said.decode()


def ask(port, method, path, body=None, headers=None):
    """Status, headers and content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def picture(level=51, size=(40, 30)):
    file = io.BytesIO()
    Image.new("RGB", size, (level, 255 - level, level)).save(file, "PNG")
    return file.getvalue()


def detail(answer):
    return answer[0], json.loads(answer[2])["detail"]


def is_well(port):
    status, _, content = ask(port, "GET", "/health")
    assert status == 200
    state = json.loads(content)
    assert state["status"] == "ok"
    return state


def test_scores_are_those_of_the_library(port, tiny_files, photo_path):
    status, _, content = ask(port, "POST", "/score", Path(photo_path).read_bytes())
    assert status == 200
    found = json.loads(content)
    metric = QFMScore.from_pretrained(tiny_files[0])
    assert found["score"] == pytest.approx(
        metric(load_image(photo_path)).item(), abs=0.6e-4
    )  # rounded to four decimals
    assert (found["width"], found["height"]) == (512, 512)
    assert found["band"] in ("bad", "poor", "fair", "good", "excellent")
    assert is_well(port)["signature"] == metric.signature


def test_the_map_is_a_picture(port, photo_path):
    status, headers, content = ask(port, "POST", "/map", Path(photo_path).read_bytes())
    assert (status, headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(content)) as image:
        assert image.width >= 100


@pytest.mark.parametrize("path", ["/score", "/map"])
@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "expected the bytes of a picture"),
        (b"no picture", "the picture"),
        (picture(size=(60, 60))[:-30], "the picture"),
        (picture(size=(600, 600)), "expected at most 0.3 megapixels, got 600 x 600"),
        (bomb(), "the picture"),
    ],
)
def test_what_is_no_picture_or_too_large_a_one_is_refused(port, path, body, says):
    status, said = detail(ask(port, "POST", path, body))
    assert status == 422
    assert says in said
    is_well(port)


def test_a_form_is_told_how_to_send_the_file(port):
    """As `curl -F file=@photo.jpg` and browsers send it: to decoders a damaged picture."""
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    status, said = detail(ask(port, "POST", "/score", b"--x\r\n\r\n" + picture() + b"\r\n--x--\r\n", kind))
    assert status == 415
    assert "got a form; curl: --data-binary @FILE" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--weights", "nope"], "unknown weights 'nope'"),
        (["--device", "warp"], "warp"),
        (["--port", "99999"], "--port: expected 0 to 65535"),
        (["--megabytes", "nan"], "expected limits above 0"),
    ],
)
def test_what_cannot_start_says_why_in_a_line(words, says):
    found = subprocess.run(
        [sys.executable, str(SERVE), *words], env=environment(), capture_output=True, text=True, timeout=PATIENCE
    )
    assert found.returncode == 2
    assert says in found.stderr.splitlines()[-1]


def test_a_huge_upload_is_refused_before_it_is_sent(port):
    status, said = detail(ask(port, "POST", "/score", None, {"Content-Length": str(10**12)}))
    assert (status, said) == (413, "expected at most 1,000,000 bytes")
    is_well(port)


def test_a_huge_upload_without_a_length_is_refused_while_it_comes(port):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(11):  # 1.1 MB, and no end
            connection.sendall(b"186a0\r\n" + bytes(100_000) + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    is_well(port)


def test_a_slow_upload_is_refused_and_holds_up_nobody(port):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        connection.sendall(b"a")
        assert ask(port, "POST", "/score", picture())[0] == 200
        answer = b""
        for _ in range(100):  # a byte every .1 s: it is never idle
            try:
                connection.sendall(b"a")
                connection.settimeout(0.1)
                answer = connection.recv(100)
                break
            except TimeoutError:
                pass
        assert answer.startswith(b"HTTP/1.1 408 ")
    assert is_well(port)["requests"] == 0


def test_an_upload_that_ends_early_costs_nothing(port):
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    for _ in range(PATIENCE * 10):
        if is_well(port)["requests"] == 0:
            return
        time.sleep(0.1)
    raise AssertionError("its place is still taken")


def test_many_at_once_get_their_own_scores(port, tiny_files):
    metric = QFMScore.from_pretrained(tiny_files[0])
    levels = [10 * i for i in range(20)]
    with ThreadPoolExecutor(5) as threads:  # fewer than there are places
        found = list(threads.map(lambda level: ask(port, "POST", "/score", picture(level)), levels))
    assert [status for status, _, _ in found] == [200] * 20
    for level, (_, _, content) in zip(levels, found, strict=True):
        alone = metric(load_image(Image.open(io.BytesIO(picture(level))))).item()
        assert json.loads(content)["score"] == pytest.approx(alone, abs=0.6e-4)


def test_who_finds_no_place_is_told_to_come_back(port):
    """Six uploads that hang take all places; then there are places again."""
    held = [socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) for _ in range(6)]
    for connection in held:
        connection.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\na")
    wait_until(lambda: is_well(port)["requests"] == 6)  # a health page has always place
    status, headers, _ = ask(port, "POST", "/score", picture())
    assert (status, headers["retry-after"]) == (503, "5")
    for connection in held:
        connection.close()
    wait_until(lambda: is_well(port)["requests"] == 0)
    assert ask(port, "POST", "/score", picture())[0] == 200


def wait_until(condition):
    for _ in range(PATIENCE * 20):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError


def test_a_picture_that_takes_too_long_is_answered_in_time(tiny_files):
    """In this process, with work that hangs until it is let go."""
    import asyncio
    import runpy

    serve = runpy.run_path(str(SERVE))
    service = serve["Service"](None, serve["Limits"](score_seconds=0.2, workers=1))
    go_on = threading.Event()

    async def run():
        try:
            await service._do(lambda data: go_on.wait(), b"data")
        except serve["HTTPException"] as error:
            return error.status_code, service.working
        finally:
            go_on.set()

    assert asyncio.run(run()) == (503, 1)
    service.threads.shutdown()
    assert service.working == 0
