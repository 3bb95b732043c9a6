"""The quick recipe by the command line, from pictures and two tables to weights that are evaluated."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qfm_metric.train.cli import main
from qfm_metric.train.distortions import DATA_SETS

SCALES = {"KADID-10k": (1, 5), "TID2013": (0, 9)}


def write_pictures(folder):
    """Flat-lit noise of 24 brightnesses: train, val and test in turn, two pictures a group."""
    rng = np.random.default_rng(0)
    lines = ["image,mos,group,subset,split"]
    for i, level in enumerate(np.linspace(20, 220, 24)):
        pixels = (level + rng.integers(0, 30, (256, 256, 3))).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        part = ("train", "train", "val", "test")[i // 2 % 4]
        lines.append(f"{i}.png,{level / 255:.4f},g{i // 2},all,{part}")
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder / "table.csv"


def write_severity(path):
    """All 49 types at 5 levels, each level a little worse."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["data_set", "type", "name", "level", "mean_score", "scale"])
        for data_set, types in DATA_SETS.items():
            bottom, top = SCALES[data_set]
            for number in types:
                for level in range(1, 6):
                    mean = top - (top - bottom) * (0.1 + 0.15 * level)
                    writer.writerow([data_set, number, "", level, f"{mean:.3f}", f"MOS {bottom}..{top}"])
    return path


@pytest.fixture
def run(monkeypatch, capfd):
    """The command, with what it printed; processes of its own are docs/own-data.md's."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["qfm_metric.train", *map(str, arguments)])
        assert main() == 0
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err
        return printed

    return command


@pytest.mark.slow
def test_from_pictures_to_evaluated_weights(run, tmp_path):
    table, severities = write_pictures(tmp_path), write_severity(tmp_path / "severity.csv")
    data, out, members = tmp_path / "data", tmp_path / "run", tmp_path / "labels.csv"

    run("prepare", "table", table, "--out", data, "--side", 256)
    assert json.loads((data / "decoded" / "shape.json").read_text()) == [18, 256, 256, 3]  # the test part is not there
    assert json.loads((data / "scale.json").read_text())["data_set"] == "table"

    # The teacher looks at the same small views, with every block frozen.
    small = ["network.depths=[0, 1, 2, 3]", "network.view_pixels=12288", "training.frozen=5", "training.init=none"]
    done = run("teacher", "teacher", "--set", *small, "--data", data, "--out", members, "--folds", 3)
    assert "cross-fitted: SRCC" in done.err
    with members.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 18

    recipe = ("quick", "--data", data, "--severity", severities)
    run("cache", *recipe)
    done = run("student", *recipe, "--members", members, "--out", out)
    assert "step 6: validation" in done.err
    path, label, sha256 = done.out.split()
    assert (Path(path), label) == (out / "student.safetensors", "sha256")
    with (out / "losses.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["step"] for row in rows} == {str(step) for step in range(1, 7)}
    assert {"severity", "difference", "distillation", "perturbed"} <= {row["name"] for row in rows}
    assert np.isfinite([float(row["value"]) for row in rows]).all()

    done = run("evaluate", data / "all.csv", "--split", "test", "--weights", path, "--scores", out / "scores.txt")
    report = json.loads(done.out)
    assert (report["sha256"], report["split"]) == (sha256, "test")
    scores = np.loadtxt(out / "scores.txt")
    assert scores.shape == (6,)
    assert ((scores > 0) & (scores < 1)).all()
