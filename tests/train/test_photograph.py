"""The head that tells photographs: it is fitted, held to few false notes, written, and reaches rows and assessments."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import CONFIG, fresh_net
from PIL import Image

from qfm_metric import QFMScore, score_files
from qfm_metric.config import QFMConfig
from qfm_metric.train import cli
from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.photograph import NOTED_SHARE, check, fit, threshold, vary
from qfm_metric.train.photograph_check import pictures_in


def run(monkeypatch, *args):
    monkeypatch.setattr("sys.argv", ["train", "photograph", *map(str, args), "--workers", "0"])
    return cli.main()


def save(folder, **pictures):
    folder.mkdir()
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def test_the_command_fits_a_head_that_moves_no_score(weights, world, tmp_path, monkeypatch, capsys):
    checkers = (255 * (np.indices((128, 160)).sum(0) // 16 % 2)).astype(np.uint8)
    folder = save(tmp_path / "flat", checkers=checkers, stripes=np.repeat(checkers[:1], 128, 0), blank=0 * checkers)
    (folder / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "telling.safetensors"
    assert run(monkeypatch, weights, "--data", world, "--out", out, "--count", 56, "--test", folder) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (
        found["drawn"]["auc"] > 0.9
    )  # measured: 1.0; the world's photographs are grainy and flat, which none drawn is
    assert found["test"]["noted"] in (0, 0.5, 1)  # of two: what is blank or damaged is left out
    assert "broken.png" in said.err
    before, after = QFMScore.from_pretrained(weights), QFMScore.from_pretrained(out)
    assert after.net.config == replace(CONFIG, photograph=True)
    images = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    assert torch.equal(after(images), before(images))


def test_fitting_again_gives_the_same_bytes(weights, world, tmp_path, monkeypatch):
    files = [tmp_path / f"{i}.safetensors" for i in range(2)]
    for source, out in zip((weights, files[0]), files, strict=True):
        assert run(monkeypatch, source, "--data", world, "--out", out, "--count", 14) == 0
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("options", "says"),
    [((), "--out FILE"), (("--test", "FOLDER"), "weights that tell photographs"), (("--out", "OUT"), "no mean tokens")],
)
def test_what_cannot_be_fitted_or_measured_is_said(options, says, weights, world, tmp_path, monkeypatch, capsys):
    if "OUT" in options:
        weights = tmp_path / "plain.safetensors"
        write_weights(fresh_net(replace(CONFIG, mean_tokens=False, defects=())), weights)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, weights, "--data", world, *options) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "OUT").exists()


def test_heads_on_the_means_need_mean_tokens():
    for heads in ({"photograph": True}, {"defects": ("blur",)}):
        with pytest.raises(ValueError, match="mean_tokens: expected true"):
            QFMConfig(**heads)


def test_a_regression_separates_what_can_be_separated():
    rng = np.random.default_rng(0)
    photographs, others = rng.normal(0, 1, (80, 6)), rng.normal(0, 1, (60, 6))
    photographs[:, 2] += 6
    photographs[:, 4] *= 1000  # of another size, and says nothing
    weight, bias = fit(photographs, others, [f"g{i // 2}" for i in range(80)])
    # Six deviations between the means: one in 700 lies on the wrong side.
    assert np.mean(photographs @ weight + bias > 0) > 0.95
    assert np.mean(others @ weight + bias < 0) > 0.95


@pytest.mark.parametrize("count", [40, 100, 1000, 1234])
def test_the_threshold_notes_at_most_its_share_of_either(count):
    rng = np.random.default_rng(count)
    colour, grey = rng.normal(1, 1, count), rng.normal(0, 2, count)
    moved = [logits - threshold(colour, grey) for logits in (colour, grey)]
    shares = [np.mean(logits <= 0) for logits in moved]
    assert max(shares) <= NOTED_SHARE
    assert max(shares) > NOTED_SHARE - 2 / count  # no lower than it must be


def test_the_check_counts_notes_and_orders_pairs():
    found = check(np.array([1.0, 2.0]), np.array([-1.0, 3.0]), np.array([-2.0, 0.0, 1.5]))
    # Of 12 pairs the photographs come first in 3 + 2 + 1 + 3: -1 beats -2 alone, 1 beats two.
    assert found == (pytest.approx(9 / 12), 0.0, 0.5, pytest.approx(2 / 3))


def test_photographs_are_varied_the_same_way_each_time():
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    sizes, greys = set(), 0
    for number in range(24):
        varied = vary(pixels, 0, number)
        np.testing.assert_array_equal(varied, vary(pixels, 0, number))
        assert varied.dtype == np.uint8
        assert min(varied.shape[:2]) >= 64
        assert max(varied.shape[:2]) <= 512
        sizes.add(varied.shape)
        greys += not np.ptp(varied.astype(int), axis=2).any()
    assert len(sizes) > 8
    assert 0 < greys < 12  # a quarter is made grey


def test_pictures_are_found_in_folders_within(tmp_path):
    inner = save(tmp_path / "inner", a=np.zeros((4, 4), np.uint8))
    (inner / "notes.txt").write_text("no picture")
    (tmp_path / "B.PNG").write_bytes((inner / "a.png").read_bytes())
    assert [path.name for path in pictures_in(tmp_path)] == ["B.PNG", "a.png"]


@pytest.fixture
def telling():
    """A network whose logit of being a photograph is 1 or -1, as its bias says."""

    def make(logit):
        net = fresh_net(replace(CONFIG, photograph=True))
        with torch.no_grad():
            net.photograph.weight.zero_()
            net.photograph.bias.fill_(logit)
        return QFMScore(net)

    return make


@pytest.mark.parametrize("tile", [None, 64])
def test_rows_note_what_is_no_photograph_and_blank_comes_first(tmp_path, telling, tile):
    noise = np.random.default_rng(0).integers(0, 256, (96, 160, 3), np.uint8)
    folder = save(tmp_path / "pictures", blank=np.full((96, 160, 3), 90, np.uint8), noise=noise)
    paths = [folder / "blank.png", folder / "noise.png"]
    assert [row.note for row in score_files(paths, telling(-1), tile=tile)] == ["blank", "not a photograph"]
    assert [row.note for row in score_files(paths, telling(1), tile=tile)] == ["blank", None]


def test_assess_says_what_is_a_photograph(telling, random_images):
    assert telling(1).assess(random_images).photograph.tolist() == [True] * 3
    assert telling(-1).assess([*random_images]).photograph.tolist() == [False] * 3
    assert QFMScore(fresh_net()).assess(random_images).photograph is None
