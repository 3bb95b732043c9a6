"""examples/restoration_loss.py: what is compared is alike but for the loss, and finished runs are kept."""

import importlib
import json
import re
import sys
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.small import make_small_metric
from PIL import Image
from safetensors.torch import load_file

from qfm_metric import GuardedScore, QFMLoss
from qfm_metric.train.datasets.table import Row, write_table

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = [
    "--steps",
    "2",
    "--warmup",
    "1",
    "--batch",
    "1",
    "--crop",
    "64",
    "--view",
    "66",
    "--width",
    "4",
    "--depth",
    "1",
]


@pytest.fixture
def example(monkeypatch):
    """The example's modules, without the packages of independent metrics."""
    monkeypatch.syspath_prepend(EXAMPLES)
    for name in ("brisque", "pypiqe"):
        monkeypatch.setitem(sys.modules, name, None)
    return {name: importlib.import_module(f"restoration_{name}") for name in ("loss", "training", "judges", "pictures")}


@pytest.fixture
def photographs(tmp_path):
    """Six pictures of even noise, of which every third is held out."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for i in range(6):
        pixels = np.random.default_rng(i).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((72, 70), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def run(example, photographs, tiny_files, tmp_path, monkeypatch):
    """Runs the command; returns results.json and the losses whose training took place."""

    def command(*options):
        trained = []
        train = example["training"].Experiment.train

        def counted(self, net, optimizer, steps, term, seed):
            trained.append((seed, len(steps), term is not None))
            return train(self, net, optimizer, steps, term, seed)

        paths = ["--images", str(photographs), "--out", str(tmp_path / "out"), "--weights-id", str(tiny_files[0])]
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["restoration_loss.py", *SMALL, *paths, *options])
            patch.setattr(example["training"].Experiment, "train", counted)
            example["loss"].main()
        return json.loads((tmp_path / "out" / "results.json").read_text())["losses"], trained

    return command


def test_losses_differ_in_nothing_else(run, tmp_path):
    losses, _ = run("--weights", "0", "5", "--loss-weights", "--recommended", "5")
    networks = {label: load_file(runs[0]["network"]) for label, runs in losses.items() if "network" in runs[0]}
    plain, zero, five, bounded = networks.values()
    assert all(torch.equal(plain[name], zero[name]) for name in plain)
    for other in (five, bounded):
        assert not all(torch.equal(plain[name], other[name]) for name in plain)
    assert not all(torch.equal(five[name], bounded[name]) for name in plain)
    assert losses["L1"][0]["pictures"] == losses["L1 + 0 (1 - QFM)"][0]["pictures"]

    table = (tmp_path / "out" / "table.md").read_text()
    row = next(line for line in table.splitlines() if line.startswith("| degraded |"))
    pictures = losses["degraded"][0]["pictures"].values()
    assert f"| {np.mean([values['PSNR'] for values in pictures]):.2f} |" in row
    assert re.search(r"gradient of 1 - QFM is [0-9.e+-]+ times L1's", table)
    with Image.open(tmp_path / "out" / "pictures.png") as image:
        assert image.width > 1.5 * image.height  # five columns, two held-out pictures
        assert np.asarray(image.convert("L")).std() > 20  # drawn, not blank


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:images. expected values in")  # after a step or two networks still overshoot
def test_finished_runs_are_kept(run, example):
    options = ["--loss-weights", "--recommended", "1"]
    first, trained = run("--weights", "1", *options)
    # what all share, L1, 1 - QFM, QFMLoss
    assert trained == [(0, 1, False), (0, 1, False), (0, 1, True), (0, 1, True)]
    again, trained = run("--weights", "1", *options)
    assert trained == []
    assert again == first
    more, trained = run("--weights", "1", "2", *options, "--seeds", "0", "1")
    assert trained == [(0, 1, True), (1, 1, False), (1, 1, False), (1, 1, True)]
    assert [len(runs) for runs in more.values()] == [1, 1, 2, 1, 1, 2]  # clean, degraded, L1, two weights, recommended
    _, trained = run("--weights", "1", *options, "--rate", "0.01")
    assert len(trained) == 4


@pytest.mark.slow
def test_guarded_runs_are_kept_apart_by_their_margin(run, example, monkeypatch):
    options = ["--weights", "0", "--loss-weights", "--recommended", "5", "--guarded-weights", "5"]
    losses, trained = run(*options)
    assert list(losses)[-2:] == ["L1 + 5 QFMLoss", "L1 + 5 QFMLoss, guarded"]
    assert len(trained) == 5
    assert run(*options)[1] == []
    monkeypatch.setattr(example["training"], "GuardedScore", partial(GuardedScore, margin=(0, 0)))
    assert run(*options)[1] == [(0, 1, True)]


def test_guarded_term_is_the_loss_of_the_guarded_score(example, small_metric):
    robust = make_small_metric()
    robust.net.calibration.offset.add_(-1)
    guarded = GuardedScore(small_metric, robust, margin=(0, 0))
    clean = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    term = example["training"].Experiment.term(SimpleNamespace(metric=small_metric, guarded=guarded), "guarded", 3.0)
    loss = QFMLoss(jitter=example["training"].JITTER, metric=guarded)
    worse = min((0.3 * clean, clean), key=lambda images: guarded(images).mean().item())
    better = clean if worse is not clean else 0.3 * clean
    found = []
    for distance in (lambda: term(worse, better), lambda: 3 * loss(worse, target=guarded(better))):
        torch.manual_seed(0)  # of the jitter
        found.append(distance())
    assert found[0] == found[1] > 0.01


def test_peer_and_other_weights_of_the_metric(run, tiny_files, tmp_path):
    """The peer runs with all seeds; other weights of the metric leave the networks alone that did not see it."""
    options = ["--weights", "1", "--loss-weights", "--recommended", "1"]
    options += ["--perceptual", "none"]  # features of random weights
    losses, trained = run(*options)
    assert len(trained) == 5
    assert losses["L1 + perceptual"][0]["network"] != losses["L1"][0]["network"]
    other, trained = run(*options, "--weights-id", str(tiny_files[1]))
    assert trained == [(0, 1, True)] * 2
    name = next(iter(losses["L1"][0]["pictures"]))
    assert other["L1"][0]["network"] == losses["L1"][0]["network"]
    assert other["L1"][0]["pictures"][name]["PSNR"] == losses["L1"][0]["pictures"][name]["PSNR"]
    assert other["L1"][0]["pictures"][name]["QFM"] != losses["L1"][0]["pictures"][name]["QFM"]


def test_report_replaces_its_own_part_of_a_page(example, tmp_path):
    put = example["judges"].put_table
    page = tmp_path / "docs" / "page.md"
    put("one\n", page)
    page.write_text(f"# Before\n\n{page.read_text()}\nafter\n")
    put("two\n", page)
    assert page.read_text().startswith("# Before\n\n")
    assert page.read_text().endswith("\nafter\n")
    assert "two" in page.read_text()
    assert "one" not in page.read_text()


def test_restorer_starts_as_the_identity_at_any_size(example):
    images = torch.rand(2, 3, 37, 50)
    assert torch.equal(example["training"].Restorer(4, 1)(images), images)


def test_crops_depend_on_seed_and_step_alone(example):
    pictures = [torch.randint(0, 256, (3, 80, 90), dtype=torch.uint8) for _ in range(3)]
    draws = {
        (seed, step): example["pictures"].draw_batch(pictures, 2, 64, seed, step) for seed in (0, 1) for step in (0, 1)
    }
    clean, degraded = draws[0, 0]
    again = example["pictures"].draw_batch(pictures, 2, 64, 0, 0)
    assert torch.equal(again[0], clean)
    assert torch.equal(again[1], degraded)
    assert clean.shape == degraded.shape == (2, 3, 64, 64)
    assert not torch.equal(clean, degraded)
    assert len({pair[1].sum().item() for pair in draws.values()}) == 4


def test_which_pictures(example, photographs, tmp_path):
    choose = example["pictures"].choose_pictures
    train, kept = choose(photographs, None, (9, 9), 0.0)
    assert {path.stem for path in kept} == {"0", "3"}
    assert {path.stem for path in train} == {"1", "2", "4", "5"}
    train, kept = choose(photographs, photographs, (3, 2), 0.0)
    assert (len(train), len(kept)) == (3, 2)

    rows = [
        Row(str(photographs / f"{i}.png"), mos, "", "", split)
        for i, (mos, split) in enumerate([(0.9, "train"), (0.2, "train"), (0.8, "val"), (0.1, "val"), (0.9, "test")])
    ]
    write_table(rows, tmp_path / "all.csv")
    train, kept = choose(tmp_path / "all.csv", None, (9, 9), 0.7)
    assert ([path.stem for path in train], [path.stem for path in kept]) == (["0"], ["2"])
    with pytest.raises(ValueError, match="got 0 and 0"):
        choose(tmp_path / "all.csv", None, (9, 9), 0.95)
    with pytest.raises(ValueError, match="expected a folder"):
        choose(tmp_path / "nowhere", None, (9, 9), 0.0)


def test_unusable_pictures_are_named(example, photographs, capsys):
    (photographs / "broken.png").write_bytes(b"not a picture")
    paths = [photographs / "broken.png", photographs / "0.png"]
    assert list(example["pictures"].load_pictures(paths, 64)) == ["0.png"]
    assert "broken.png" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no picture of at least 71 x 71"):
        example["pictures"].load_pictures(paths, 71)
    assert "72 x 70 px is smaller" in capsys.readouterr().out


def test_gain_is_paired_by_seed_and_picture(example):
    def runs(seed, **values):
        return {"seed": seed, "pictures": {name: {"PSNR": value} for name, value in values.items()}}

    base = [runs(0, a=20.0, b=30.0), runs(1, a=21.0, b=31.0)]
    gain, low, high = example["judges"].gain_over([runs(1, a=22.0, b=34.0)], base, "PSNR")
    assert gain == pytest.approx(2.0)  # 1 and 3
    assert (low, high) == (1.0, 3.0)


def test_judges_packages(example, monkeypatch, capsys):
    """Named if missing; features that come as arrays of one element, which NumPy no longer casts, are passed on."""
    assert example["judges"].find_judges() == {}
    printed = capsys.readouterr().out
    assert "BRISQUE" in printed
    assert "pip install pypiqe" in printed

    class Package:
        def __init__(self, url):
            assert url is False

        def score(self, pixels):
            return self.scale_features([np.array([float(pixels.mean())])])[0]

        def scale_features(self, features):
            return [float(value) for value in features]

    brisque, pypiqe = ModuleType("brisque"), ModuleType("pypiqe")
    brisque.BRISQUE, pypiqe.piqe = Package, lambda pixels: (np.float64(pixels.max()), None, None, None)
    monkeypatch.setitem(sys.modules, "brisque", brisque)
    monkeypatch.setitem(sys.modules, "pypiqe", pypiqe)
    judges = example["judges"].find_judges()
    pixels = np.full((8, 8, 3), 7, np.uint8)
    assert {name: judge(pixels) for name, judge in judges.items()} == {"BRISQUE": 7.0, "PIQE": 7.0}


def test_config(example, tmp_path, capsys):
    config = tmp_path / "config.toml"
    config.write_text("steps = 50\nwarmup = 40\nseeds = [0, 1]\n")
    args = example["loss"].parse(["--config", str(config), "--warmup", "30"])
    assert (args.steps, args.warmup, args.seeds) == (50, 30, [0, 1])
    example["loss"].parse(["--config", str(EXAMPLES / "restoration_gpu.toml")])
    config.write_text("step = 50\n")
    with pytest.raises(SystemExit):
        example["loss"].parse(["--config", str(config)])
    assert "unknown step" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        example["loss"].parse(["--steps", "10", "--warmup", "10"])
    assert "--warmup: expected 0 to 9" in capsys.readouterr().err
