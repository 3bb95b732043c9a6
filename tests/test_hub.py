"""The Hub over loopback, with the real client: published, downloaded, cached, damaged, refused, out of reach."""

import contextlib
import errno
import inspect
import os
import shutil
import threading
import time

import pytest
import torch
from helpers.hub_server import sha256
from helpers.published import REPO, TOKEN, commit_of, publish_another

from qfm_metric import QFMScore, WeightsError
from qfm_metric.hub import find_weights, load_weights
from qfm_metric.weights import FILE

# The client's own: its upload calls its HTTP library in a way that the latter calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def blob(cache):
    (path,) = (cache / "models--org--tiny" / "blobs").iterdir()
    return path


def test_published_then_downloaded(published, manifest, tiny_files, cache):
    metric = QFMScore.from_pretrained("tiny", cache_dir=cache)
    local = QFMScore.from_pretrained(tiny_files[0])
    images = torch.rand(2, 3, 64, 96)
    assert torch.equal(metric(images), local(images))
    assert (metric.weights_id, metric.weights_sha256) == ("tiny", sha256(tiny_files[0].read_bytes()))
    assert set(published.find(REPO, commit_of(manifest))[1]) == {"README.md", "config.json", FILE}
    assert sum(path.startswith("/blobs/") for method, path, _ in published.requests if method == "GET") == 1


def test_a_pinned_id_in_the_cache_asks_nobody(published, cache):
    first = load_weights("tiny", cache_dir=cache)
    published.requests.clear()
    assert load_weights("tiny", cache_dir=cache).sha256 == first.sha256
    assert published.requests == []
    published.stop()
    for local_files_only in (False, True):
        again = load_weights("tiny", cache_dir=cache, local_files_only=local_files_only)
        assert again.sha256 == first.sha256


def test_pinned_revision_after_the_repository_moved_on(published, manifest, tiny_files, cache, monkeypatch):
    old = commit_of(manifest)
    new = publish_another(manifest, tiny_files[1], monkeypatch)
    assert old != new
    hashes = [sha256(file.read_bytes()) for file in tiny_files]
    assert load_weights("tiny", cache_dir=cache).sha256 == hashes[0]
    assert load_weights(f"{REPO}@{old}", cache_dir=cache).sha256 == hashes[0]
    assert load_weights(REPO, revision=old, cache_dir=cache).sha256 == hashes[0]
    for source in (REPO, f"{REPO}@main", f"{REPO}@{new}"):
        found = load_weights(source, cache_dir=cache)
        assert (found.sha256, found.id) == (hashes[1], f"{REPO}@{new[:12]}")


def test_a_branch_is_what_it_was_when_last_seen_if_the_hub_is_out_of_reach(published, cache):
    first = load_weights(REPO, cache_dir=cache)
    published.faults["HEAD resolve"] = lambda request: request.answer(503) or True
    assert load_weights(REPO, cache_dir=cache).sha256 == first.sha256
    published.stop()
    assert load_weights(REPO, cache_dir=cache).sha256 == first.sha256


@pytest.mark.parametrize("source", ["tiny", REPO])
@pytest.mark.parametrize(("damage", "says"), [("flip", "expected SHA-256"), ("cut", "expected")])
def test_damaged_blob_in_the_cache(published, cache, source, damage, says):
    whole = load_weights(source, cache_dir=cache)
    data = bytearray(blob(cache).read_bytes())
    data[-1] ^= 1
    blob(cache).write_bytes(data if damage == "flip" else data[:-1])
    with pytest.raises(WeightsError, match=f"{says}.*got.*delete {blob(cache)} and load again"):
        load_weights(source, cache_dir=cache)
    blob(cache).unlink()
    assert load_weights(source, cache_dir=cache).sha256 == whole.sha256  # what the message says helps


def test_transfer_that_breaks_once(published, cache):
    broken = []

    def break_off(request):
        if broken:
            return False
        broken.append(request.path)
        data = request.hub.blobs[request.path.rpartition("/")[2]]
        request.answer(200, data[: len(data) // 2], Content_Length=str(len(data)))
        return True

    published.faults["GET download"] = break_off
    with contextlib.suppress(WeightsError):  # early 1.x does not resume, and says to try again
        load_weights("tiny", cache_dir=cache)
    assert load_weights("tiny", cache_dir=cache).id == "tiny"
    assert len(broken) == 1


def test_truncated_transfer(published, cache):
    def cut(request):
        return request.answer(200, request.hub.blobs[request.path.rpartition("/")[2]][:1000]) or True

    published.faults["GET download"] = cut
    with pytest.raises(WeightsError, match=r"transfer was cut short.*try again"):
        load_weights("tiny", cache_dir=cache)
    published.faults.clear()
    assert load_weights("tiny", cache_dir=cache).id == "tiny"  # nothing of it was kept


def test_hub_that_holds_other_bytes_than_released(published, manifest, tiny_files, cache):
    files = published.commits[REPO][-1][1]
    files[FILE] = tiny_files[1].read_bytes()
    published.blobs[sha256(files[FILE])] = files[FILE]
    with pytest.raises(WeightsError, match="weights 'tiny': expected SHA-256"):
        load_weights("tiny", cache_dir=cache)
    files[FILE] = files[FILE][:-8]
    published.blobs[sha256(files[FILE])] = files[FILE]
    shutil.rmtree(cache)
    with pytest.raises(WeightsError, match=f"weights 'tiny': expected {tiny_files[0].stat().st_size} bytes"):
        load_weights("tiny", cache_dir=cache)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("org/none", "no such Hub repository, or no permission.*token="),
        (f"{REPO}@{'0' * 40}", "no such revision"),
        (f"{REPO}@v1/beta", "no such revision"),
        ("org/empty", "the Hub repository has no model.safetensors"),
        ("org/bad--name", "cannot download"),
    ],
)
def test_what_the_hub_does_not_have(published, cache, source, says):
    published.commits["org/empty"] = [("1" * 40, {"README.md": b""})]
    with pytest.raises(WeightsError, match=says):
        load_weights(source, cache_dir=cache)


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "no permission.*token="), (403, "no permission.*token="), (404, "status 404"), (500, "status 500.*later")],
)
@pytest.mark.parametrize("where", ["HEAD resolve", "GET download"])
def test_status_of_the_hub(published, cache, where, status, says):
    published.faults[where] = lambda request: request.answer(status) or True
    start = time.monotonic()
    with pytest.raises(WeightsError, match=says):
        load_weights("tiny", cache_dir=cache)
    assert time.monotonic() - start < 5  # the client's own retries take 23 s


@pytest.mark.parametrize("source", ["tiny", REPO])
def test_out_of_reach_fails_at_once(published, cache, source):
    published.stop()
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"cannot download from http://127\.0\.0\.1.*check the network"):
        load_weights(source, cache_dir=cache)
    with pytest.raises(WeightsError, match="not in the cache, and local_files_only"):
        load_weights(source, cache_dir=cache, local_files_only=True)
    assert time.monotonic() - start < 5


def test_hub_that_does_not_answer(published, cache, monkeypatch):
    monkeypatch.setattr("qfm_metric.hub.HEAD_TIMEOUT", 0.2)
    silence = threading.Event()
    published.faults["HEAD resolve"] = lambda request: silence.wait(60)
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"cannot download from .*Timeout.*check the network"):
        load_weights("tiny", cache_dir=cache)
    assert time.monotonic() - start < 5
    silence.set()


def test_token_is_sent_where_given_only(published, cache, monkeypatch):
    for function in (load_weights, find_weights, QFMScore.from_pretrained):
        assert inspect.signature(function).parameters["token"].default is False  # None would send a saved one
    monkeypatch.setenv("HF_TOKEN", TOKEN)  # somebody is logged in
    load_weights("tiny", cache_dir=cache)
    assert {token for _, _, token in published.requests} == {None}
    published.private[REPO] = TOKEN
    with pytest.raises(WeightsError, match="token="):
        load_weights("tiny", cache_dir=cache / "none")
    with pytest.raises(WeightsError, match="token="):
        load_weights("tiny", cache_dir=cache / "none", token="hf_wrong")
    for token in (TOKEN, True):
        published.requests.clear()
        load_weights("tiny", cache_dir=cache / str(token), token=token)
        sent = {path.split("/")[1]: header for _, path, header in published.requests}
        assert sent == {"org": f"Bearer {TOKEN}", "blobs": None}  # the file store is another host


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, "disk is full.*cache_dir="),
        (errno.EACCES, "no permission to write.*cache_dir="),
        (errno.EROFS, "no permission to write.*cache_dir="),
    ],
)
def test_cache_that_cannot_be_written(published, cache, monkeypatch, number, says):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number), str(cache))

    monkeypatch.setattr("huggingface_hub.file_download.http_get", fail)
    with pytest.raises(WeightsError, match=says):
        load_weights("tiny", cache_dir=cache)
