"""A calibration for other MOS: it is found, written, and moves no order; deviations; a network as a member."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from qfm_metric import QFMScore
from qfm_metric.assessment import half_width
from qfm_metric.config import QFMConfig
from qfm_metric.model import QFMNet
from qfm_metric.train import cli
from qfm_metric.train.calibrate import calibrate, calibrate_std, write_weights
from qfm_metric.train.datasets.table import Row, read_table, write_table

CONFIG = QFMConfig(depths=(0, 1), view_pixels=64 * 64, dim=16, queries=2, heads=2)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    write_weights(QFMNet(CONFIG).eval(), tmp_path / "ours.safetensors")
    return tmp_path / "ours.safetensors"


def run(monkeypatch, *args):
    monkeypatch.setattr("sys.argv", ["train", *map(str, args)])
    return cli.main()


def decoded_noise(tmp_path, mos_of):
    """Twelve pictures as `prepare` writes them, with the MOS that `mos_of` gives to the batch."""
    rng = np.random.default_rng(0)
    pixels = (
        rng.integers(0, 256, (12, 64, 64, 3), dtype=np.uint8) // np.arange(1, 13, dtype=np.uint8)[:, None, None, None]
    )
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    rows = [Row(f"{i}.png", float(mos), split="val") for i, mos in enumerate(mos_of(images))]
    folder = tmp_path / "data" / "decoded"
    folder.mkdir(parents=True)
    pixels.tofile(folder / "pixels.u8")
    (folder / "shape.json").write_text(json.dumps(pixels.shape))
    write_table(rows, folder / "table.csv")
    return tmp_path / "data", images


def test_calibrate_command_moves_scores_and_no_order(weights, tmp_path, monkeypatch):
    metric = QFMScore.from_pretrained(weights)
    # What slope 4 and offset 1 would score.
    data, images = decoded_noise(tmp_path, lambda images: torch.sigmoid(4 * torch.logit(metric(images)) + 1))
    before = metric(images)
    out = tmp_path / "calibrated.safetensors"
    assert run(monkeypatch, "calibrate", "--data", data, "--weights", weights, "--out", out) == 0
    after = QFMScore.from_pretrained(out)(images)
    assert torch.equal(after.argsort(), before.argsort())
    # Slope and offset in half precision.
    torch.testing.assert_close(after, torch.sigmoid(4 * torch.logit(before) + 1), rtol=0, atol=5e-3)


def test_calibrate_command_refuses_a_part_that_is_not_decoded(weights, tmp_path, monkeypatch, capsys):
    data, _ = decoded_noise(tmp_path, lambda images: torch.full((len(images),), 0.5))
    out = tmp_path / "calibrated.safetensors"
    options = ("--data", data, "--weights", weights, "--split", "test", "--out", out)
    assert run(monkeypatch, "calibrate", *options) == 1
    assert "decoded pictures of the part 'test', got 0" in capsys.readouterr().err
    assert not out.exists()


def test_calibrate_command_can_fit_the_deviations_alone(tmp_path, monkeypatch):
    torch.manual_seed(0)
    weights, out = tmp_path / "unsure.safetensors", tmp_path / "calibrated.safetensors"
    write_weights(QFMNet(replace(CONFIG, uncertainty=True)).eval(), weights)
    metric = QFMScore.from_pretrained(weights)
    data, images = decoded_noise(tmp_path, lambda images: metric(images) - 2 * metric.uncertainty(images))
    before = metric.assess(images)
    arguments = ["calibrate", "--data", data, "--weights", weights, "--keep-scores", "--out", out]
    assert run(monkeypatch, *arguments) == 0
    after = QFMScore.from_pretrained(out).assess(images)
    assert torch.equal(after.score, before.score)
    # Every MOS is two deviations off, so even the narrow interval must reach them.
    torch.testing.assert_close(after.std / before.std, torch.full((12,), 2 / half_width(0.68)), rtol=1e-2, atol=0)

    # A cross-fitted teacher that errs twice as much on training pictures as on validation widens them by as much.
    table = data / "decoded" / "table.csv"
    rows = [replace(row, split="train" if i < 6 else "val") for i, row in enumerate(read_table(table))]
    write_table(rows, table)
    lines = [f"{Path(row.image).name},{row.mos + (0.2 if row.split == 'train' else 0.1)}" for row in rows]
    (tmp_path / "member.csv").write_text("\n".join(["image,score", *lines]) + "\n")
    assert run(monkeypatch, *arguments, "--members", tmp_path / "member.csv") == 0
    wider = QFMScore.from_pretrained(out).uncertainty(images)
    torch.testing.assert_close(wider, 2 * after.std, rtol=1e-2, atol=0)


def test_label_command_makes_a_network_a_member(weights, tmp_path, monkeypatch):
    data, images = decoded_noise(tmp_path, lambda images: torch.full((len(images),), 0.5))
    out = tmp_path / "member.csv"
    assert run(monkeypatch, "label", "--data", data, "--weights", weights, "--out", out) == 0
    expected = [f"{i}.png,{score:.4f}" for i, score in enumerate(QFMScore.from_pretrained(weights)(images).tolist())]
    assert out.read_text().splitlines() == ["image,score", *expected]


def test_weights_without_deviations_have_none_to_fit(weights, tmp_path, monkeypatch, capsys):
    data, _ = decoded_noise(tmp_path, lambda images: torch.full((len(images),), 0.5))
    out = tmp_path / "calibrated.safetensors"
    assert run(monkeypatch, "calibrate", "--data", data, "--weights", weights, "--keep-scores", "--out", out) == 1
    assert "expected weights that predict a deviation" in capsys.readouterr().err
    assert not out.exists()


def test_the_calibration_is_found_and_exported(tmp_path, random_images):
    torch.manual_seed(0)
    net = QFMNet(CONFIG).eval()
    scores = np.linspace(0.05, 0.95, 30)
    mos = 1 / (1 + np.exp(-(3 * np.log(scores / (1 - scores)) - 0.5)))  # what slope 3 and offset -0.5 would score
    calibrated = calibrate(net, scores, mos)
    np.testing.assert_allclose(calibrated, mos, atol=1e-3)
    assert net.calibration.slope.item() == pytest.approx(3, rel=1e-2)
    assert net.calibration.offset.item() == pytest.approx(-0.5, abs=1e-2)
    sha256 = write_weights(net, tmp_path / "student.safetensors")
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
        scores = net.calibration(net.forward_logits(answers, answers)).numpy()
        before = net.forward_std(answers).numpy()
        mos = scores + 3 * before * rng.standard_t(3, len(scores)) / 3**0.5  # three times as uncertain as it says
        calibrate_std(net, scores, before, mos)
        after = net.forward_std(answers).numpy()
        calibrate_std(net, scores, after, mos, growth=1.25)
        np.testing.assert_allclose(net.forward_std(answers).numpy() / after, 1.25, rtol=1e-3)
    np.testing.assert_allclose(after / before, 3, rtol=0.1)
    assert np.ptp(after / before) < 1e-4
