"""Figures of a part of a data set, and the command that prints them."""

import json
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from qfm_metric import GuardedScore, QFMScore, load_image
from qfm_metric.train import cli, evaluate
from qfm_metric.train.datasets.table import DataError, Row, write_table


def test_figures_by_subset_and_without_duplicates():
    # Within a subset the order is wrong, between them right: the overall figure flatters.
    scores = np.array([0.3, 0.2, 0.1, 0.9, 0.8, 0.7])
    rows = [Row("", mos, str(i), "low" if i < 3 else "high") for i, mos in enumerate([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])]
    result = evaluate.figures(scores, rows, seen_groups={"0"})
    assert result["all"]["srcc"] == pytest.approx(spearmanr(scores, [row.mos for row in rows])[0])
    assert result["all"]["srcc"] > 0.5
    assert result["within_srcc"] == -1
    assert set(result["subsets"]) == {"low", "high"}
    assert result["no_duplicates"]["n"] == 5


def test_figures_of_groups_say_which_of_two_is_better():
    rows = [
        Row("", mos, group) for mos, group in zip([0.1, 0.3, 0.5, 0.2, 0.8], ["a", "a", "a", "b", "b"], strict=True)
    ]
    found = evaluate.figures(np.array([0.1, 0.3, 0.2, 0.5, 0.4]), rows)
    assert found["groups"] == {"pairs": 4, "right": 0.5}  # 1 < 2 and 1 < 3 alone
    assert "groups" not in evaluate.figures(np.linspace(0, 1, 5), [Row("", row.mos) for row in rows])


@pytest.mark.parametrize("scores", [np.linspace(0.2, 0.8, 12), np.full(12, 0.5)])
def test_scatter_writes_a_picture(tmp_path, scores):
    rows = [Row("", mos, subset="ab"[i % 2]) for i, mos in enumerate(np.linspace(0.1, 0.9, 12))]
    evaluate.scatter(scores, rows, tmp_path / "scatter.png")
    with Image.open(tmp_path / "scatter.png") as picture:
        assert picture.size == (900, 900)


@pytest.fixture
def evaluate_three(tmp_path, monkeypatch, capsys):
    """Runs `evaluate` on three pictures with more options; returns what it printed."""
    # Some draws with replacement from three pictures are constant.
    monkeypatch.setattr(evaluate, "bootstrap_interval", lambda scores, mos: (-1.0, 1.0))
    rng = np.random.default_rng(0)
    for i in range(3):
        pixels = np.kron(rng.integers(0, 256, (16, 16, 3), np.uint8), np.ones((32, 32, 1), np.uint8))
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    rows = [Row(f"{i}.png", 0.2 * i, group=str(i), split="test") for i in range(3)]
    write_table(rows, tmp_path / "all.csv")

    def run(*options):
        words = ["train", "evaluate", tmp_path / "all.csv", "--split", "test", *options]
        monkeypatch.setattr(sys, "argv", [*map(str, words)])
        assert cli.main() == 0
        return json.loads(capsys.readouterr().out)

    return run


def test_a_missing_picture_is_told_before_any_is_scored(evaluate_three, tmp_path, monkeypatch):
    (tmp_path / "2.png").unlink()
    monkeypatch.setattr(evaluate, "score_images", None)
    with pytest.raises(DataError, match=r"2\.png: listed in all\.csv but not there; 1 of 3"):
        evaluate.evaluate(tmp_path / "all.csv", "test")


def test_evaluate_command_draws(evaluate_three, tmp_path, tiny_files):
    assert evaluate_three("--weights", tiny_files[0], "--plot", tmp_path / "plot.png")["all"]["n"] == 3
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_evaluate_command_holds_scores(evaluate_three, tmp_path, tiny_files, monkeypatch):
    monkeypatch.setattr(evaluate, "GuardedScore", partial(GuardedScore, margin=(-0.1, -0.1)))
    scores = tmp_path / "scores.txt"
    found = evaluate_three("--weights", tiny_files[0], "--guarded", tiny_files[1], "--scores", scores)
    assert [found["weights"], found["guarded by"]] == [path.name for path in tiny_files]
    assert found["margin"] == [-0.1, -0.1]
    guard = GuardedScore(*(QFMScore.from_pretrained(path) for path in tiny_files), margin=(-0.1, -0.1))
    images = [load_image(tmp_path / f"{i}.png") for i in range(3)]
    assert not np.allclose(
        [guard(image).item() for image in images], [guard.accurate(image).item() for image in images]
    )
    np.testing.assert_allclose(np.loadtxt(scores), [guard(image).item() for image in images], atol=2e-6)
