"""A head from a few ratings: what is chosen, that it is the network's own afterwards, and that folds keep groups."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.small_world import CONFIG, fresh_net

from qfm_metric import QFMScore
from qfm_metric.train.agreement import srcc
from qfm_metric.train.frozen import Frozen, look
from qfm_metric.train.own_ratings import RELEASED, apply, fit, folds


def made(count, seed=0, features=12):
    """What a network might see, and a group for each picture."""
    rng = np.random.default_rng(seed)
    frozen = Frozen(rng.normal(0, 1, (count, features)), rng.normal(0, 1, count), rng.uniform(0.05, 0.2, count))
    return rng, frozen, [f"g{i}" for i in range(count)]


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def test_ratings_that_follow_the_released_score_only_rescale_it():
    rng, frozen, groups = made(50)
    mos = sigmoid(0.6 * frozen.logits + 0.8) + rng.normal(0, 0.03, 50)
    found = fit(frozen, mos, groups)
    assert found.settings == RELEASED
    scores = found.scores(frozen)
    assert np.array_equal(scores.argsort(), frozen.logits.argsort())
    # Of 50 ratings with a deviation of .03 the curve is known to about .01.
    np.testing.assert_allclose(scores, sigmoid(0.6 * frozen.logits + 0.8), atol=0.03)


@pytest.mark.parametrize("seed", range(3))
def test_ratings_that_say_nothing_leave_the_released_order(seed):
    rng, frozen, groups = made(50, seed)
    found = fit(frozen, rng.uniform(0.2, 0.8, 50), groups)
    assert found.settings == RELEASED
    assert srcc(found.scores(frozen), frozen.logits) == pytest.approx(1)


def test_ratings_that_follow_what_the_released_score_misses_are_learned():
    _, frozen, groups = made(120)
    mos = sigmoid(frozen.means[:, 3] - frozen.means[:, 5] + 0.2 * frozen.logits)
    found = fit(frozen, mos, groups)
    assert found.settings != RELEASED
    _, fresh, _ = made(200, 7)
    wanted = fresh.means[:, 3] - fresh.means[:, 5] + 0.2 * fresh.logits
    assert srcc(found.scores(fresh), wanted) > 0.95  # measured: .998
    assert srcc(fresh.logits, wanted) < 0.4


@pytest.mark.parametrize("more", [{}, {"spread_width": 8, "worst_defect": 0.25}])
def test_the_fit_becomes_the_networks_own(more):
    """Scores of the changed network are the fit's, its order of the released ones is not, and deviations are fitted."""
    config = replace(CONFIG, **more)
    net = fresh_net(config)
    pictures = [np.random.default_rng(i).integers(0, 4 + 6 * i, (96, 128, 3)).astype(np.uint8) for i in range(40)]
    metric = QFMScore(net)
    frozen = look(metric, lambda i: pictures[i], len(pictures), workers=0)
    released = np.array([metric(torch.from_numpy(x).permute(2, 0, 1)).item() for x in pictures])
    np.testing.assert_allclose(sigmoid(frozen.logits), released, atol=1e-6)
    mos = np.random.default_rng(0).permutation(sigmoid(np.linspace(-2, 2, 40)))
    mos = 0.5 * mos + 0.5 * sigmoid(3 * frozen.means[:, 0] / frozen.means[:, 0].std())
    found = fit(frozen, mos, [str(i) for i in range(40)])
    for settings in (found.settings, found.settings._replace(share=0.5)):
        changed = QFMScore(fresh_net(config))
        head = found.__class__(settings, (1.3, -0.2), np.linspace(-1, 1, frozen.means.shape[1]), 0.4, (0.9, 0.1))
        wanted = head.scores(frozen)
        apply(changed.net, head, frozen, mos, wanted)
        scores = [changed(torch.from_numpy(pixels).permute(2, 0, 1)).item() for pixels in pictures]
        np.testing.assert_allclose(scores, wanted, atol=1e-5)  # single precision
    stds = changed.uncertainty([torch.from_numpy(pixels).permute(2, 0, 1) for pixels in pictures]).numpy()
    assert np.ptp(stds / frozen.stds) < 1e-4
    inside = np.abs(wanted - mos) <= 0.686 * stds
    assert 0.4 < inside.mean() < 0.95  # of 40; .68 are wanted


def test_folds_keep_groups_together_and_cover_all():
    groups = [f"g{i % 7}" for i in range(30)]
    found = list(folds(groups, 0))
    assert len(found) == 5
    assert sorted(np.concatenate([test for _, test in found])) == list(range(30))
    for train, test in found:
        assert not {groups[i] for i in train} & {groups[i] for i in test}
        assert len(train) + len(test) == 30
    assert any((a[1] != b[1]).any() for a, b in zip(found, folds(groups, 1), strict=True) if len(a[1]) == len(b[1]))


@pytest.mark.parametrize(
    ("mos", "groups", "says"),
    [
        (np.linspace(0, 1, 19), [str(i) for i in range(19)], "at least 20 pictures"),
        (np.linspace(0, 1, 30), [str(i % 3) for i in range(30)], "in 4 groups, got 30 in 3"),
        (np.full(30, 0.5), [str(i) for i in range(30)], "ratings that differ"),
    ],
)
def test_too_few_ratings_are_refused(mos, groups, says):
    _, frozen, _ = made(len(mos))
    with pytest.raises(ValueError, match=says):
        fit(frozen, mos, groups)
