"""Figures of agreement, against SciPy and by hand."""

import numpy as np
import pytest
from scipy.stats import kendalltau, pearsonr, spearmanr

from qfm_metric.train.agreement import agreement, bootstrap_interval, logistic_fit, ordered_pairs


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    mos = rng.uniform(0, 1, 200)
    return np.round(mos + rng.normal(0, 0.2, 200), 1), mos  # rounded: many ties


def test_against_scipy_with_ties(sample):
    scores, mos = sample
    figures = agreement(scores, mos)
    assert figures["srcc"] == pytest.approx(spearmanr(scores, mos)[0])
    assert figures["krcc"] == pytest.approx(kendalltau(scores, mos)[0])
    assert figures["plcc"] == pytest.approx(pearsonr(scores, mos)[0])
    assert figures["rmse"] == pytest.approx(np.sqrt(np.mean((scores - mos) ** 2)))
    assert figures["n"] == 200


def test_the_logistic_undoes_a_logistic():
    mos = np.linspace(0.1, 0.9, 60)
    scores = 3 * np.log((mos - 0.05) / (0.95 - mos))
    figures = agreement(scores, mos)
    assert figures["srcc"] == 1
    assert figures["plcc"] < 0.995
    assert figures["plcc_fit"] == pytest.approx(1, abs=1e-5)
    assert figures["rmse_fit"] == pytest.approx(0, abs=1e-4)
    assert np.allclose(logistic_fit(scores, mos)(scores), mos, atol=1e-3)


def test_constant_scores_correlate_with_nothing():
    figures = agreement(np.full(10, 0.5), np.linspace(0, 1, 10))
    assert figures["srcc"] == figures["plcc"] == figures["krcc"] == figures["plcc_fit"] == 0


@pytest.mark.parametrize(("scores", "mos"), [([1, 2], [1, 2]), ([1, 2, 3], [1, 2, 3, 4]), ([[1, 2, 3]], [[1, 2, 3]])])
def test_wrong_shapes_are_refused(scores, mos):
    with pytest.raises(ValueError, match="expected two"):
        agreement(np.array(scores), np.array(mos))


def test_interval_holds_the_figure_and_narrows_with_pictures(sample):
    scores, mos = sample
    low, high = bootstrap_interval(scores, mos)
    assert low < agreement(scores, mos)["srcc"] < high
    few = bootstrap_interval(scores[:30], mos[:30])
    assert few[1] - few[0] > high - low


def test_pairs_of_a_group_are_ordered_right_wrong_or_half():
    mos = np.array([0.1, 0.2, 0.3, 0.5, 0.5, 0.1, 0.9])
    groups = np.array(["a", "a", "a", "b", "b", "", ""])  # b: of one MOS; and no group
    assert ordered_pairs(mos, mos, groups) == {"pairs": 3, "right": 1}
    assert ordered_pairs(-mos, mos, groups) == {"pairs": 3, "right": 0}
    assert ordered_pairs(np.array([0.1, 0.1, 0.2, 0, 0, 0, 0]), mos, groups)["right"] == pytest.approx(2.5 / 3)
    assert np.isnan(ordered_pairs(mos, mos, np.full(7, ""))["right"])
