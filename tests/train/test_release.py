"""Releases: the manifest's entry; what goes to the Hub, what the manifest says afterwards, and what is refused."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from helpers.hub_server import sha256
from huggingface_hub import ModelCard

from qfm_metric import QFMScore
from qfm_metric.card import model_card
from qfm_metric.config import QFMConfig
from qfm_metric.model import QFMNet
from qfm_metric.train import cli, evaluate, release
from qfm_metric.train.datasets.table import Row
from qfm_metric.weights import FILE, read_manifest, save_weights

# The client's own: its upload calls its HTTP library in a way that the latter calls old.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

TINY = QFMConfig(backbone="mobilenetv3_small_050", dim=32, heads=2)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_weights(path, asdict(TINY), QFMNet(TINY).state_dict(), torch.float32)
    return path


@pytest.fixture
def manifest(tmp_path, file):
    """A manifest with one id, which is not embedded."""
    figures = {"command": "python -m qfm_metric.train evaluate all.csv", "BIQ2021 test": {"srcc": 0.75, "within": 0.6}}
    data = [{"name": "BIQ2021", "terms": "no licence file: ask"}]
    entry = {"file": None, "repo_id": None, "revision": None, "filename": None, "licence": "Apache-2.0"}
    entry |= {"sha256": sha256(file.read_bytes()), "bytes": file.stat().st_size}
    entry |= {"training_data": data, "figures": figures}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"schema_version": 1, "default": "tiny", "weights": {"tiny": entry}}))
    return path


@pytest.fixture
def publish(manifest, file, monkeypatch, capsys):
    """The command; returns its exit status and what it printed."""

    def run(*options):
        known = ["--repo-id", "org/tiny", "--id", "tiny", "--manifest", str(manifest), "--file", str(file)]
        monkeypatch.setattr(sys, "argv", ["train", "publish", *known, *options])
        status = cli.main()
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    monkeypatch.setenv("HF_TOKEN", "hf_writer")
    return run


def entry_of(manifest):
    return json.loads(manifest.read_text())["weights"]["tiny"]


def test_publish_writes_repository_and_manifest(hub, publish, manifest, file):
    before = entry_of(manifest)
    status, out, _ = publish()
    assert status == 0
    (oid, files) = hub.commits["org/tiny"][-1]
    assert entry_of(manifest) == before | {"repo_id": "org/tiny", "revision": oid, "filename": FILE}
    assert f"org/tiny@{oid}" in out
    assert files[FILE] == file.read_bytes()
    assert files["config.json"] == json.dumps(asdict(TINY), indent=2, sort_keys=True).encode() + b"\n"
    assert files["README.md"].decode() == model_card("tiny", before, source="org/tiny")
    assert len(hub.commits["org/tiny"]) == 1


def test_publishing_again_makes_no_new_commit_unless_something_changed(hub, publish, manifest):
    publish()
    first = entry_of(manifest)
    assert publish()[0] == 0
    assert entry_of(manifest) == first
    content = json.loads(manifest.read_text())
    content["weights"]["tiny"]["training_data"][0]["terms"] = "granted"
    manifest.write_text(json.dumps(content))
    assert publish()[0] == 0
    assert [b"granted" in files["README.md"] for _, files in hub.commits["org/tiny"]] == [False, True]
    assert entry_of(manifest)["revision"] == hub.commits["org/tiny"][-1][0] != first["revision"]


def test_dry_run_shows_all_and_asks_nobody(hub, publish, manifest):
    before = manifest.read_text()
    status, out, _ = publish("--dry-run")
    assert status == 0
    for part in ("would publish org/tiny", FILE, entry_of(manifest)["sha256"], '"repo_id": "org/tiny"', "BIQ2021"):
        assert part in out
    assert (hub.requests, hub.commits, manifest.read_text()) == ([], {}, before)


def test_what_cannot_be_published_leaves_the_manifest_alone(hub, publish, manifest, monkeypatch, tmp_path):
    before = manifest.read_text()
    other = tmp_path / "other.safetensors"
    save_weights(other, asdict(TINY), QFMNet(TINY).state_dict(), torch.float32)
    hub.faults["POST commit"] = lambda request: request.answer(403, {"error": "read only"}) or True
    monkeypatch.delenv("HF_TOKEN")
    cases = [
        (["--id", "none"], "add its entry first"),
        (["--file", str(other)], "publish the file that the manifest describes"),
        ([], "log in with a token"),  # as nobody
    ]
    for options, says in cases:
        status, out, err = publish(*options)
        assert (status, out) == (1, "")
        assert says in err
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    assert "log in with a token" in publish()[2]
    assert manifest.read_text() == before


def test_repository_that_gives_back_other_bytes_is_not_named(hub, publish, manifest, file):
    before = manifest.read_text()
    wrong = file.read_bytes()[:-4] + bytes(4)

    def swap(request):
        oid = request.path.rpartition("/")[2]
        return request.answer(200, wrong, ETag=f'"{oid}"') or True

    hub.faults["GET download"] = swap
    status, _, err = publish()
    assert status == 1
    assert "expected SHA-256" in err
    assert manifest.read_text() == before


@pytest.fixture
def evaluation():
    rng = np.random.default_rng(0)
    rows = [Row("", float(mos), str(i % 20), f"ss0{i % 2}") for i, mos in enumerate(rng.uniform(size=40))]
    scores = np.array([row.mos for row in rows]) + rng.normal(0, 0.1, 40)
    return evaluate.figures(scores, rows, {"3"})


def test_entry_is_what_the_schema_asks_for(file, evaluation):
    known = read_manifest()
    entry = release.manifest_entry(file, {"BIQ2021 test": evaluation}, known["default"])
    content = file.read_bytes()
    assert (entry["sha256"], entry["bytes"]) == (sha256(content), len(content))
    assert entry["figures"]["BIQ2021 test"]["srcc_ss01"] == pytest.approx(
        evaluation["subsets"]["ss01"]["srcc"], abs=5e-5
    )
    assert entry["figures"]["BIQ2021 test without near-duplicates"]["images"] == 38
    schema = json.loads((Path(release.__file__).parents[1] / "weights_manifest.schema.json").read_text())
    jsonschema.validate({**known, "weights": {"ours": json.loads(json.dumps(entry))}, "default": "ours"}, schema)


def test_export_command_prints_the_entry_and_writes_the_card(file, evaluation, tmp_path, monkeypatch, capsys):
    def export(*options):
        monkeypatch.setattr(sys, "argv", ["train", "export", str(file), *options])
        return cli.main()

    (tmp_path / "test.json").write_text(json.dumps(evaluation))
    figures = f"BIQ2021 test={tmp_path / 'test.json'}"
    assert export("--figures", figures, "--card", str(tmp_path / "card.md")) == 0
    entry = json.loads(capsys.readouterr().out)["tiny"]
    assert entry["figures"]["BIQ2021 test"]["images"] == 40
    assert str(round(evaluation["all"]["srcc"], 4)) in (tmp_path / "card.md").read_text()
    assert export("--like", "nobody") == 1
    assert "one of" in capsys.readouterr().err


def test_card_is_what_the_hub_reads(manifest):
    entry = entry_of(manifest)
    data = ModelCard(model_card("tiny", entry, source="org/tiny")).data
    assert (data.license, data.library_name, data.datasets) == ("apache-2.0", "qfm_metric", ["BIQ2021"])
    assert (data.model_name, data.metrics) == ("tiny", ["spearmanr"])
    (result,) = data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("BIQ2021 test", "spearmanr", 0.75)
    assert "image-quality-assessment" in data.tags


def test_card_keeps_parts_of_one_data_set_apart(manifest):
    entry = entry_of(manifest)
    entry["figures"] |= {"BIQ2021 test without near-duplicates": {"srcc": 0.5, "images": 3}, "BIQ2021 ss01": {"n": 1}}
    data = ModelCard(model_card("tiny", entry)).data
    found = [(result.dataset_name, result.metric_value) for result in data.eval_results]
    assert found == [("BIQ2021 test", 0.75), ("BIQ2021 test without near-duplicates", 0.5)]
    assert data.metrics == ["spearmanr"]


def test_card_says_what_is_so(manifest):
    entry = entry_of(manifest)
    text = model_card("tiny", entry, source="org/tiny")
    for part in (
        "independent reconstruction",
        'from_pretrained("org/tiny")',
        entry["sha256"],
        "no licence file: ask",
        "| BIQ2021 test | within | 0.6 |",
        entry["figures"]["command"],
    ):
        assert part in text
    odd = model_card("tiny", entry | {"licence": 'a "special" one: yes'})
    assert ModelCard(odd).data.to_dict()["license_name"] == 'a "special" one: yes'


def test_card_of_unreleased_weights_claims_nothing(manifest, tmp_path, file, monkeypatch):
    text = model_card("custom", None)
    assert "not a release" in text
    for word in ("license", "datasets", "model-index", "Figures"):
        assert word not in text
    metric = QFMScore.from_pretrained(file)
    monkeypatch.setattr("qfm_metric.pretrained.read_manifest", lambda: json.loads(manifest.read_text()))
    metric.save_pretrained(tmp_path / "released")
    assert (tmp_path / "released" / "README.md").read_text() == model_card("tiny", entry_of(manifest))
    metric.net.head[1].bias.add_(1)
    metric.save_pretrained(tmp_path / "tuned")
    assert (tmp_path / "tuned" / "README.md").read_text() == model_card("tuned", None)
