"""`fit`: from a table of ratings to a weights file, with figures on held-out pictures and a warning."""

import re
from dataclasses import replace

import numpy as np
import pytest
from helpers.small_world import CONFIG, fresh_net
from PIL import Image

from qfm_metric import QFMScore, WeightsError, load_image
from qfm_metric.train import cli, frozen
from qfm_metric.train.agreement import srcc
from qfm_metric.train.calibrate import write_weights
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.fit_ratings import CrossValidation, read_ratings
from qfm_metric.train.frozen import need_mean_tokens

COUNT = 60


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures whose colour goes from red to blue; names that begin with the picture's share of blue."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, blue in enumerate(np.linspace(0, 1, COUNT)):
        noise = np.random.default_rng(i).integers(0, 60, (80, 112, 3))
        pixels = noise + np.array([180 * (1 - blue), 60, 180 * blue])
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def table(pictures, name, ratings):
    lines = [f"{i}.png,{rating}" for i, rating in enumerate(ratings)]
    (pictures / name).write_text("\n".join(["image,mos", *lines]) + "\n")
    return pictures / name


def run(monkeypatch, *args):
    monkeypatch.setattr("sys.argv", ["train", "fit", *map(str, args), "--workers", "0", "--repeats", "2"])
    return cli.main()


def test_ratings_become_weights_and_figures(weights, pictures, tmp_path, monkeypatch, capsys):
    out, ratings = tmp_path / "mine.safetensors", np.linspace(1.5, 4.5, COUNT)
    arguments = (table(pictures, "stars.csv", ratings), "-o", out, "--weights", weights, "--scale", 1, 5)
    assert run(monkeypatch, *arguments) == 0
    said = capsys.readouterr()
    figures = {
        line[:22].strip(): [float(number) for number in re.findall(r"(-?\d\.\d+) \+-", line)]
        for line in said.out.splitlines()
        if "+-" in line
    }
    assert figures.keys() == {"released", "released, re-scaled", "fitted"}
    assert figures["fitted"][0] > 0.9  # measured: .99; colour is easily seen
    assert figures["fitted"][2] < 0.4  # in stars; they deviate by .88
    assert "warning" not in said.err
    metric = QFMScore.from_pretrained(out)
    scores = np.array([metric(load_image(pictures / f"{i}.png")).item() for i in range(COUNT)])
    assert srcc(scores, ratings) > 0.9
    np.testing.assert_allclose(1 + 4 * scores, ratings, atol=0.9)


def test_ratings_that_say_nothing_are_warned_of(weights, pictures, tmp_path, monkeypatch, capsys):
    ratings = np.random.default_rng(0).permutation(np.linspace(0, 1, COUNT))
    arguments = (table(pictures, "noise.csv", ratings), "-o", tmp_path / "mine.safetensors", "--weights", weights)
    assert run(monkeypatch, *arguments) == 0
    said = capsys.readouterr()
    assert f"warning: {COUNT} ratings are too few to tell" in said.err
    assert "chosen: the released score, re-scaled" in said.out


def test_weights_that_cannot_be_fitted_are_named_in_a_line(pictures, tmp_path, monkeypatch, capsys):
    plain, out = tmp_path / "plain.safetensors", tmp_path / "mine.safetensors"
    write_weights(fresh_net(replace(CONFIG, mean_tokens=False, defects=())), plain)
    ratings = table(pictures, "few.csv", np.linspace(0, 1, COUNT))
    assert run(monkeypatch, ratings, "-o", out, "--weights", plain) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "'plain.safetensors' cannot be fitted: their views have no mean tokens" in said
    assert not out.exists()


@pytest.mark.parametrize(("able", "says"), [(True, "choose qfm-"), (False, "network.mean_tokens = true")])
def test_which_weights_can_be_fitted_is_said(able, says, monkeypatch):
    monkeypatch.setattr(frozen, "released_with", lambda setting: ["qfm-new"] * able)
    plain = QFMScore(fresh_net(replace(CONFIG, mean_tokens=False, defects=())))
    with pytest.raises(WeightsError, match=says):
        need_mean_tokens(plain)


def test_too_few_ratings_are_refused_before_a_picture_is_read(weights, tmp_path, monkeypatch, capsys):
    for i in range(22):  # enough, but not when a fold is left out
        (tmp_path / f"{i}.png").write_bytes(b"no picture")
    ratings = table(tmp_path, "few.csv", np.linspace(0, 1, 22))
    assert run(monkeypatch, ratings, "-o", tmp_path / "mine.safetensors", "--weights", weights) == 1
    assert "of 22 ratings, 5 are left out to measure with; of the rest: expected" in capsys.readouterr().err


def test_a_scale_is_read_and_groups_are_kept(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(b"")
    path = tmp_path / "table.csv"
    path.write_text("image,mos,group\na.png,1,x\nb.png,3,x\nc.png,5,\n")
    rows = read_ratings(path, 1, 5)
    assert [row.mos for row in rows] == [0, 0.5, 1]
    assert [row.group for row in rows] == ["x", "x", "c.png"]
    with pytest.raises(DataError, match=r"line 3: expected a score in \[0, 1\], got '3'"):
        read_ratings(path)
    path.write_text("image,mos,Group\na.png,1,x\n")  # passed over, figures would be flattered
    with pytest.raises(DataError, match="column 'Group': expected the name 'group'"):
        read_ratings(path)
    for low, high in ((5, 1), (0, np.inf), (np.nan, 1)):
        with pytest.raises(ValueError, match=f"lowest and the highest rating, got {low:g} and {high:g}"):
            read_ratings(path, low, high)


def test_the_gain_is_that_of_the_order_with_an_interval_over_groups():
    mos = np.linspace(0, 1, 40)
    rng = np.random.default_rng(0)
    fitted = np.stack([mos + rng.normal(0, 0.05, 40) for _ in range(3)])
    released = rng.permutation(mos)
    found = CrossValidation(fitted, fitted, released)
    mean, low, high = found.gain(mos, [str(i // 2) for i in range(40)], draws=200)
    assert mean == pytest.approx(np.mean([srcc(scores, mos) for scores in fitted]) - srcc(released, mos))
    assert 0 < low < mean < high
    same = CrossValidation(released[None], released[None], released).gain(mos, [str(i) for i in range(40)], draws=50)
    assert same == (0, 0, 0)
