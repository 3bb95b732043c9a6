"""benchmarks/near_duplicates.py: its arithmetic, on features that say what they say."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import near_duplicates as study

from qfm_metric.train.severity import DistortionLevel

COUNT = 120


def looked(means):
    return study.Looked(np.zeros(len(means)), means, means)


def pairs_of(groups):
    return study.pairs_within(groups, np.arange(len(groups)))


def test_pairs_are_those_within_groups():
    assert study.pairs_within(["a", "b", "a", "b", "c", "a"], np.array([0, 1, 2, 3])).tolist() == [[0, 2], [1, 3]]


def test_a_pair_the_other_way_round_gets_the_opposite_answer():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 7))
    np.testing.assert_allclose(study.odd_kernel(-a, b, 1.0), -study.odd_kernel(a, b, 1.0), atol=1e-12)  # float64
    assert np.abs(study.odd_kernel(a, b, 1.0)).max() > 0.01


@pytest.fixture
def groups():
    return [f"{i // 2}" for i in range(COUNT)]


def test_heads_learn_what_the_means_say(groups):
    means = np.random.default_rng(0).normal(size=(COUNT, 3))
    mos, pairs = 0.5 + 0.1 * means[:, 0], pairs_of(groups)
    for better in study.heads(looked(means), mos, groups, pairs).values():
        assert np.corrcoef(better, mos[pairs[:, 0]] - mos[pairs[:, 1]])[0, 1] > 0.9


def test_heads_have_not_seen_the_group_that_they_are_asked_about(groups):
    """Each group has a direction of its own, in which the better one lies: seen, it would be known."""
    means = np.zeros((COUNT, COUNT // 2))
    signs = np.random.default_rng(0).choice([-1, 1], COUNT // 2)
    means[np.arange(0, COUNT, 2), np.arange(COUNT // 2)] = signs * 8
    mos = np.full(COUNT, 0.5)
    mos[::2] += 0.2 * signs
    for better in study.heads(looked(means), mos, groups, pairs_of(groups)).values():
        assert np.abs(better).max() < 0.02  # a tenth of what there is to know


def test_intervals_are_over_groups_not_pairs():
    right = np.repeat([0.0, 1.0], 500)
    mean, low, high = study.interval(right, np.repeat(["a", "b"], 500))
    assert (mean, low, high) == (0.5, 0.0, 1.0)
    _, low, high = study.interval(right, np.arange(1000))
    assert 0.45 < low < high < 0.55


def test_ladder_pairs_are_levels_of_one_type_that_people_tell_apart():
    levels = [
        DistortionLevel("KADID-10k", 1, "blur", 1, 4.0, 1.0),
        DistortionLevel("KADID-10k", 1, "blur", 2, 3.9, 0.9),  # .025 of the scale
        DistortionLevel("KADID-10k", 1, "blur", 3, 2.0, 0.3),
        DistortionLevel("KADID-10k", 2, "noise", 1, 1.0, 0.0),
        DistortionLevel("TID2013", 1, "noise", 1, 1.0, 0.0),
    ]
    assert [(i, j) for i, j, _ in study.ladder_pairs(levels)] == [(2, 0), (2, 1)]
    assert [ahead for _, _, ahead in study.ladder_pairs(levels)] == pytest.approx([-0.5, -0.475])
