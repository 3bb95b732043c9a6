"""Attacks stay in their bounds, climb, and repeat."""

import pytest
import torch
from torch import nn

from qfm_metric.train.attacks import apgd, ascend, checkpoints, value_and_gradient

EPS = 4 / 255


@pytest.fixture
def score():
    """A curved score that is hardly linear within EPS."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GELU(), nn.Conv2d(8, 8, 3, stride=2), nn.GELU(), nn.Flatten())

    def function(images):
        return torch.sin(400 * net(images)).mean(dim=1)

    function.net = net
    return function


@pytest.fixture
def images():
    pictures = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    pictures[0, :, :4], pictures[0, :, 4:8] = 0, 1  # where the ball reaches out of [0, 1]
    return pictures


@pytest.mark.parametrize("direction", [1, -1])
def test_apgd_stays_in_the_ball_and_moves_every_picture_its_way(score, images, direction):
    before = images.clone()
    attacked = apgd(score, images, EPS, steps=20, restarts=2, direction=direction)
    assert torch.equal(images, before)
    assert attacked.shape == images.shape
    assert not attacked.requires_grad
    assert (attacked - images).abs().max() <= EPS + 1e-6
    assert attacked.min() >= 0
    assert attacked.max() <= 1
    assert (direction * (score(attacked) - score(images)) > 0.01).all()


def test_one_step_from_the_picture_is_fgsm_and_more_steps_beat_it(score, images):
    gradient = value_and_gradient(score, images)[1]
    fgsm = (images + EPS * gradient.sign()).clamp(0, 1)
    # 2 eps is the first step size, so the ball's border is reached wherever the gradient has a sign.
    one = apgd(score, images, EPS, steps=1)
    better = score(fgsm) > score(images)
    assert torch.allclose(one[better], fgsm[better])
    assert torch.equal(one[~better], images[~better])  # never worse than the picture itself
    assert (score(apgd(score, images, EPS, steps=30)) > score(fgsm) + 0.01).all()


def test_restarts_are_never_worse_and_help_somewhere(score, images):
    found = [score(apgd(score, images, EPS, steps=10, restarts=restarts)) for restarts in (1, 2, 5)]
    assert (found[1] >= found[0] - 1e-6).all()
    assert (found[2] >= found[1] - 1e-6).all()
    assert (found[2] > found[0] + 1e-3).any()


def test_the_seed_decides(score, images):
    runs = [apgd(score, images, EPS, steps=5, restarts=3, seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_pictures_are_attacked_by_themselves(score, images):
    together = apgd(score, images, EPS, steps=12)
    alone = torch.cat([apgd(score, image[None], EPS, steps=12) for image in images])
    assert torch.allclose(score(together), score(alone), atol=1e-3)


def test_no_gradient_reaches_the_network_and_modes_do_not_matter(score, images):
    with torch.no_grad():
        quiet = apgd(score, images, EPS, steps=3)
    assert torch.equal(quiet, apgd(score, images, EPS, steps=3))
    ascend(score, images, steps=2)
    assert all(parameter.grad is None for parameter in score.net.parameters())


def test_a_radius_of_nothing_changes_nothing(score, images):
    assert torch.equal(apgd(score, images, 0.0, steps=3, restarts=2), images)


def test_apgd_finds_the_corner_of_a_linear_score():
    weight = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = torch.full((1, 3, 8, 8), 0.5)
    attacked = apgd(lambda x: (x * weight).sum(dim=(1, 2, 3)), images, EPS, steps=5)
    assert torch.allclose(attacked, images + EPS * weight.sign())


def test_checkpoints_are_the_published_ones():
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]  # AutoAttack's, for 100 iterations
    assert min(checkpoints(1)) == 1


@pytest.mark.parametrize("direction", [1, -1])
def test_ascent_leaves_the_ball_but_not_the_range(score, images, direction):
    before = images.clone()
    found = ascend(score, images, steps=30, direction=direction)
    assert torch.equal(images, before)
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found - images).abs().max() > EPS
    assert (direction * (score(found) - score(images)) > 0.05).all()
    assert (direction * (score(found) - score(ascend(score, images, steps=5, direction=direction))) >= 0).all()


@pytest.mark.parametrize("wrong", [{"eps": -0.1}, {"steps": 0}, {"restarts": 0}, {"direction": 2}])
def test_apgd_refuses(score, images, wrong):
    with pytest.raises(ValueError, match=r"expected eps >= 0, steps >= 1, restarts >= 1"):
        apgd(score, images, **({"eps": EPS} | wrong))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"rate": 0.0}, {"direction": 0}])
def test_ascent_refuses(score, images, wrong):
    with pytest.raises(ValueError, match=r"expected steps >= 1, rate > 0"):
        ascend(score, images, **wrong)
