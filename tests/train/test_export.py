"""From a trained network to a released file: the manifest's entry and card, and a calibration for other MOS."""

import hashlib
import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import torch

from qfm_metric import QFMScore
from qfm_metric.model import QFMConfig, QFMNet
from qfm_metric.train import __main__ as commands
from qfm_metric.train import evaluate, export
from qfm_metric.train.data import Row, write_table
from qfm_metric.weights import read_manifest

CONFIG = QFMConfig(depths=(0, 1), view_pixels=64 * 64, dim=16, queries=2, heads=2)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    export.export(QFMNet(CONFIG).eval(), tmp_path / "ours.safetensors")
    return tmp_path / "ours.safetensors"


@pytest.fixture
def evaluation(tmp_path):
    rng = np.random.default_rng(0)
    rows = [Row("", float(mos), str(i % 20), f"ss0{i % 2}") for i, mos in enumerate(rng.uniform(size=40))]
    scores = np.array([row.mos for row in rows]) + rng.normal(0, 0.1, 40)
    return evaluate.report(scores, rows, {"3"})


def run(monkeypatch, *args):
    monkeypatch.setattr("sys.argv", ["train", *map(str, args)])
    return commands.main()


def test_entry_is_what_the_schema_asks_for(weights, evaluation):
    manifest = read_manifest()
    like = manifest["weights"][manifest["default"]]
    entry = export.manifest_entry(weights, {"BIQ2021 test": evaluation}, "evaluate", like)
    content = weights.read_bytes()
    assert (entry["sha256"], entry["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert entry["figures"]["BIQ2021 test"]["srcc_ss01"] == pytest.approx(
        evaluation["subsets"]["ss01"]["srcc"], abs=5e-5
    )
    assert entry["figures"]["BIQ2021 test without near-duplicates"]["images"] == 38
    schema = json.loads((commands.Path(export.__file__).parents[1] / "weights_manifest.schema.json").read_text())
    jsonschema.validate({**manifest, "weights": {"ours": json.loads(json.dumps(entry))}, "default": "ours"}, schema)


def test_export_command_prints_the_entry_and_writes_the_card(weights, evaluation, tmp_path, monkeypatch, capsys):
    (tmp_path / "test.json").write_text(json.dumps(evaluation))
    figures = f"BIQ2021 test={tmp_path / 'test.json'}"
    assert run(monkeypatch, "export", weights, "--figures", figures, "--card", tmp_path / "card.md") == 0
    entry = json.loads(capsys.readouterr().out)["ours"]
    assert entry["figures"]["BIQ2021 test"]["images"] == 40
    assert str(round(evaluation["all"]["srcc"], 4)) in (tmp_path / "card.md").read_text()
    assert run(monkeypatch, "export", weights, "--like", "nobody") == 1
    assert "one of" in capsys.readouterr().err


def test_calibrate_command_moves_scores_and_no_order(weights, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pixels = (
        rng.integers(0, 256, (12, 64, 64, 3), dtype=np.uint8) // np.arange(1, 13, dtype=np.uint8)[:, None, None, None]
    )
    metric = QFMScore.from_pretrained(weights)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    before = metric(images)
    wanted = torch.sigmoid(4 * torch.logit(before) + 1)  # what slope 4 and offset 1 would score
    rows = [Row(f"{i}.png", float(mos), split="val") for i, mos in enumerate(wanted)]
    folder = tmp_path / "data" / "decoded"
    folder.mkdir(parents=True)
    pixels.tofile(folder / "pixels.u8")
    (folder / "shape.json").write_text(json.dumps(pixels.shape))
    write_table(rows, folder / "table.csv")
    out = tmp_path / "calibrated.safetensors"
    assert run(monkeypatch, "calibrate", "--data", tmp_path / "data", "--weights", weights, "--out", out) == 0
    after = QFMScore.from_pretrained(out)(images)
    assert torch.equal(after.argsort(), before.argsort())
    torch.testing.assert_close(after, wanted, rtol=0, atol=5e-3)  # half precision of slope and offset


def test_the_calibration_is_found_and_exported(tmp_path, random_images):
    torch.manual_seed(0)
    net = QFMNet(CONFIG).eval()
    scores = np.linspace(0.05, 0.95, 30)
    mos = 1 / (1 + np.exp(-(3 * np.log(scores / (1 - scores)) - 0.5)))  # what slope 3 and offset -0.5 would score
    export.calibrate(net, scores, mos)
    assert net.calibration.slope.item() == pytest.approx(3, rel=1e-2)
    assert net.calibration.offset.item() == pytest.approx(-0.5, abs=1e-2)
    sha256 = export.export(net, tmp_path / "student.safetensors")
    metric = QFMScore.from_pretrained(tmp_path / "student.safetensors")
    assert metric.weights_sha256 == sha256
    # Stored in half precision: 11 bits of each weight.
    torch.testing.assert_close(metric(random_images), net(random_images).detach(), rtol=0, atol=5e-3)


def test_calibration_makes_the_uncertainty_the_most_likely():
    torch.manual_seed(0)
    net = QFMNet(replace(CONFIG, uncertainty=True)).eval()
    answers = torch.randn(4000, 2, 16)
    rng = np.random.default_rng(0)
    with torch.inference_mode():
        scores = net.calibration(net.forward_logits(answers)).numpy()
        before = net.forward_std(answers).numpy()
        mos = scores + 3 * before * rng.standard_t(3, len(scores)) / 3**0.5  # three times as uncertain as it says
        export.calibrate(net, scores, mos, before)
        after = net.forward_std(answers).numpy()
    np.testing.assert_allclose(after / before, 3, rtol=0.1)
    assert np.ptp(after / before) < 1e-4
