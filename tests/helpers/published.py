"""A small network published on the Hub of the tests, under the id `tiny` of a manifest made for it."""

import json

from helpers.hub_server import sha256
from qfm_metric.train.release import publish
from qfm_metric.weights import read_manifest

TINY = {"backbone": "mobilenetv3_small_050", "dim": 32, "heads": 2}
REPO, TOKEN = "org/tiny", "hf_loopback"


def promise(file):
    return {"sha256": sha256(file.read_bytes()), "bytes": file.stat().st_size}


def publish_tiny(manifest, file, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    publish(REPO, "tiny", manifest, file, private=False, dry_run=False)
    monkeypatch.delenv("HF_TOKEN")
    read_manifest.cache_clear()


def publish_another(manifest, file, monkeypatch):
    """The repository moves on, the manifest stays as it was; returns the new commit."""
    before = manifest.read_text()
    content = json.loads(before)
    content["weights"]["tiny"] |= promise(file)
    manifest.write_text(json.dumps(content))
    publish_tiny(manifest, file, monkeypatch)
    after = commit_of(manifest)
    manifest.write_text(before)
    read_manifest.cache_clear()
    return after


def commit_of(manifest):
    return json.loads(manifest.read_text())["weights"]["tiny"]["revision"]
