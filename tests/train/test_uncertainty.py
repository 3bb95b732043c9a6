"""Figures of predicted uncertainty, on errors that were drawn with known deviations."""

import numpy as np
import pytest
from PIL import Image
from scipy.stats import t

from qfm_metric.train.uncertainty import coverage, draw_risk_coverage, figures, fit_scale, risk_coverage

N = 20_000
SHARE = 4 * 0.5 / N**0.5  # four standard errors of a share, at most


@pytest.fixture
def drawn():
    """Scores, true deviations and MOS; errors have the tails that `Assessment.interval` expects."""
    rng = np.random.default_rng(0)
    std = rng.uniform(0.02, 0.2, N)
    mos = rng.uniform(0, 1, N)
    return mos + std * rng.standard_t(3, N) / 3**0.5, std, mos


@pytest.mark.parametrize("level", [0.5, 0.68, 0.95])
def test_true_deviations_cover_what_they_say(drawn, level):
    scores, std, mos = drawn
    assert coverage(scores, std, mos, level) == pytest.approx(level, abs=SHARE)
    assert coverage(scores, std * 2, mos, level) > level + SHARE
    assert coverage(scores, std / 2, mos, level) < level - SHARE


def test_coverage_counts_what_lies_inside():
    errors = np.array([0.0, 0.5, -0.99, 1.01, -3.0])
    assert coverage(errors, np.ones(5), np.zeros(5), 0.8183) == 3 / 5  # one standard deviation


def test_fit_scale_finds_the_factor_back(drawn):
    scores, std, mos = drawn
    assert fit_scale(scores, std, mos) == pytest.approx(1, abs=0.02)
    assert fit_scale(scores, std / 3, mos) == pytest.approx(3, abs=0.06)
    assert fit_scale(scores, std * fit_scale(scores, std, mos), mos) == pytest.approx(1)


def test_the_fitted_scale_is_the_most_likely(drawn):
    scores, std, mos = drawn
    scale = fit_scale(scores, std, mos)

    def likelihood(factor):
        return np.mean(t(3, scale=factor * std / 3**0.5).logpdf(scores - mos))

    assert likelihood(scale) > max(likelihood(scale * 0.97), likelihood(scale * 1.03))


def test_risk_falls_as_the_uncertain_are_left_out(drawn):
    _, std, mos = drawn
    # Long tails would need many more pictures for a stable mean square.
    curve = risk_coverage(mos + std * np.random.default_rng(1).standard_normal(N), std, mos)
    assert curve.retained[[0, -1]].tolist() == [1 / N, 1]
    # The RMS of a uniform deviation from .02 to d is known: kept is the share (d - .02) / .18.
    for share in (0.25, 0.5, 1.0):
        end = 0.02 + 0.18 * share
        expected = np.sqrt((end**3 - 0.02**3) / 3 / (end - 0.02))
        assert curve.rmse[int(N * share) - 1] == pytest.approx(expected, rel=0.03)
    assert curve.area < curve.rmse[-1]


def test_risk_of_a_few_pictures_by_hand():
    curve = risk_coverage(np.array([0.5, 0.2, 0.9]), np.array([0.3, 0.1, 0.2]), np.array([0.1, 0.2, 0.6]))
    expected = [0, np.sqrt(0.09 / 2), np.sqrt((0.09 + 0.16) / 3)]
    assert curve.rmse == pytest.approx(expected)
    assert curve.area == pytest.approx(np.mean(expected))


def test_no_order_counts_among_equal_deviations(drawn):
    scores, std, mos = drawn
    curve = risk_coverage(scores, np.full(N, 0.1), mos)
    assert curve.rmse == pytest.approx(np.full(N, curve.rmse[-1]))
    misled = risk_coverage(scores, 1 / std, mos)
    assert misled.area > curve.area > risk_coverage(scores, std, mos).area


def test_figures_of_drawn_errors(drawn):
    found = figures(*drawn)
    scores, std, mos = drawn
    assert found["n"] == N
    assert found["coverage_68"] == coverage(scores, std, mos, 0.68)
    assert found["coverage_95"] == coverage(scores, std, mos, 0.95)
    assert found["scale"] == fit_scale(scores, std, mos)
    assert found["mean_std"] == pytest.approx(0.11, abs=0.001)
    assert 0.3 < found["error_srcc"] < 0.7  # true deviations order errors, but errors are drawn
    assert found["rmse_half"] < found["rmse"] == pytest.approx(np.sqrt(np.mean((scores - mos) ** 2)))
    half = np.argsort(std)[: N // 2]
    assert found["rmse_half"] == pytest.approx(np.sqrt(np.mean((scores - mos)[half] ** 2)))
    assert figures(scores, std[::-1], mos)["error_srcc"] == pytest.approx(0, abs=4 / N**0.5)


def test_the_curve_is_drawn(drawn, tmp_path):
    draw_risk_coverage(*drawn, tmp_path / "risk.png")
    with Image.open(tmp_path / "risk.png") as image:
        assert np.asarray(image.convert("L")).std() > 10  # drawn, not blank


def test_perfect_scores_can_be_drawn(tmp_path):
    draw_risk_coverage(np.array([0.5, 0.7]), np.array([0.1, 0.2]), np.array([0.5, 0.7]), tmp_path / "risk.svg")
    assert "<svg" in (tmp_path / "risk.svg").read_text()


ONES = np.ones(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ONES, ONES[:2], ONES), r"three \(N,\) arrays"),
        ((ONES[:0],) * 3, r"three \(N,\) arrays"),
        ((ONES[None],) * 3, r"three \(N,\) arrays"),
        ((ONES, ONES * 0, ONES), "above 0"),
        ((ONES, ONES * np.nan, ONES), "do the weights predict them"),
        ((ONES, ONES, ONES), "differ from the MOS"),
    ],
)
def test_refused_arrays(arguments, message):
    with pytest.raises(ValueError, match=message):
        fit_scale(*arguments)


@pytest.mark.parametrize("level", [0, 1, 68, -0.1])
def test_refused_levels(drawn, level):
    with pytest.raises(ValueError, match="between 0 and 1"):
        coverage(*drawn, level)


def test_one_picture_makes_no_figures():
    with pytest.raises(ValueError, match="at least 2"):
        figures(ONES[:1] / 2, ONES[:1], ONES[:1])
