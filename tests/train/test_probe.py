"""The probe: ridges learn what features say, from as many ratings as they are given, and are measured on others."""

import sys

import numpy as np
import pytest

from qfm_metric.train import probe
from qfm_metric.train.cli import main
from qfm_metric.train.datasets.table import DataError
from qfm_metric.train.recipe import read_recipe


def test_brightness_is_found_and_more_so_from_more_pictures(world):
    """The small world's MOS is the brightness, which even random features hold."""
    few, every = probe.probe(read_recipe("quick"), world, [2], draws=4, workers=1)
    assert (few.ratings, len(few.srccs)) == (2, 4)
    assert (every.ratings, len(every.srccs)) == (16, 1)
    assert every.srccs[0] > 0.9
    assert np.mean(few.srccs) < every.srccs[0]


def test_draws_follow_from_the_seed(world):
    first, again, other = (probe.probe(read_recipe("quick"), world, [3], 2, seed, 1)[0] for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_validation_ratings_are_not_learned(world, monkeypatch):
    learned = []
    ridge = probe._ridge

    def recorded(features, mos, others):
        learned.append(mos)
        return ridge(features, mos, others)

    monkeypatch.setattr(probe, "_ridge", recorded)
    probe.probe(read_recipe("quick"), world, [5], 1, workers=1)
    levels = np.linspace(20, 220, 24) / 255
    validation = levels[1::3]
    assert [len(mos) for mos in learned] == [5, 16]
    assert all(np.abs(mos[:, None] - validation).min() > 0.02 for mos in learned)  # steps of .034


def test_a_ridge_chooses_its_penalty():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 200))
    mos = features[:, 0] + 0.1 * rng.normal(size=60)
    nothing = probe._ridge(features, rng.normal(size=60), features)
    found = probe._ridge(features, mos, features)
    assert np.corrcoef(found, features[:, 0])[0, 1] > 0.5
    assert nothing.std() < found.std()


def test_the_table_says_mean_and_spread():
    found = [probe.Probed(50, [0.5, 0.6]), probe.Probed(900, [0.75])]
    assert probe.markdown(found).splitlines()[2:] == ["| 50 | 2 | 0.550 ± 0.071 |", "| 900 | 1 | 0.750 |"]


def test_counts_that_cannot_be_drawn_are_refused(world):
    for count in (1, 17):
        with pytest.raises(DataError, match=rf"from 2 to the 16 training pictures, got \[{count}\]"):
            probe.probe(read_recipe("quick"), world, [count], workers=1)


def test_the_command_prints_the_table(world, monkeypatch, capsys):
    words = ["probe", "quick", "--data", str(world), "--counts", "4", "--draws", "2", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["train", *words])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| ratings | draws | validation SRCC |"
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["4", "16"]
