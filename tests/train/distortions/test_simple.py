"""Degradations: deterministic, of the right shape, stronger with strength."""

import itertools

import numpy as np
import pytest

from qfm_metric.train.distortions.simple import KINDS, degrade


@pytest.fixture
def pixels(photo):
    return (photo[:, 100:228, 150:310] * 255).byte().permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(pixels, kind):
    kept = pixels.copy()
    rungs = [degrade(pixels, kind, strength, seed=1) for strength in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert np.array_equal(pixels, kept)
    assert all(rung.shape == pixels.shape and rung.dtype == np.uint8 for rung in rungs)
    distance = [np.sqrt(np.mean((rung.astype(float) - pixels) ** 2)) for rung in rungs]
    assert distance[0] > 0.5  # even the weakest changes the picture
    assert all(after > before for before, after in itertools.pairwise(distance))
    assert np.array_equal(rungs[2], degrade(pixels, kind, 0.5, seed=1))


def test_noise_depends_on_the_seed(pixels):
    assert not np.array_equal(degrade(pixels, "noise", 0.5, seed=1), degrade(pixels, "noise", 0.5, seed=2))


def test_noise_has_the_stated_spread():
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert degrade(grey, "noise", 0.0).std() == pytest.approx(4.0, rel=0.05)


def test_unknown_kind_and_strength(pixels):
    with pytest.raises(ValueError, match="known: blur"):
        degrade(pixels, "scratch", 0.5)
    with pytest.raises(ValueError, match=r"strength in \[0, 1\], got 2"):
        degrade(pixels, "blur", 2)
