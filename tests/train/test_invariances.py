"""What is rendered to check a score, and what the figures say of a score that only sees brightness."""

import numpy as np
import pytest

from qfm_metric.train import invariances
from qfm_metric.train.invariances import CHECKS, Check, check_invariances, check_large


@pytest.fixture
def photographs():
    rng = np.random.default_rng(0)
    return [rng.integers(low, low + 40, (96, 128, 3), np.uint8) for low in (60, 90, 120)]


def brightness(pictures):
    return np.array([picture.mean() / 255 for picture in pictures])


def test_brightness_passes_what_does_not_change_it_and_fails_the_rest(photographs):
    figures = check_invariances(brightness, photographs)
    assert {check.figure for check in CHECKS} == set(figures)
    passed = {check.figure: check.passed(figures) for check in CHECKS}
    assert passed["flip: mean change"]
    assert figures["flip: mean change"] == 0
    assert passed["darker than a stop: share falling"]
    assert figures["darker than a stop: share falling"] == 1
    assert figures["brighter than a stop: share falling"] == 0
    assert not passed["x 4: highest score"]
    assert not passed["letterbox: mean change"]
    assert figures["letterbox: mean change"] == pytest.approx(
        brightness(photographs).mean() * (1 - 96 / (96 + 2 * 12)),
        rel=0.01,  # the share that the bars cover
    )
    assert not passed["static: highest score"]


def test_a_check_is_a_bound_from_above_or_below():
    assert Check("a", 0.3).passed({"a": 0.3})
    assert not Check("a", 0.3).passed({"a": 0.31})
    assert Check("a", 0.3, least=True).passed({"a": 0.31})
    assert not Check("a", 0.3, least=True).passed({"a": 0.29})


def test_sharpness_falls_with_defocus_and_rises_with_noise():
    rng = np.random.default_rng(1)
    sharp = [np.kron(rng.integers(0, 256, (40, 60, 1)), np.ones((4, 4, 3))).astype(np.uint8)]

    def sharpness(pictures):
        return np.array([np.abs(np.diff(picture[..., 1].astype(float), axis=1)).mean() / 255 for picture in pictures])

    figures = check_large(sharpness, sharp)
    assert figures["large, defocus: share falling"] == 1
    assert figures["large, defocus: least cost of the second level"] > 0
    assert figures["large, noise: share falling"] == 0


@pytest.mark.parametrize("name", invariances.TEXTURES)
def test_static_has_no_mean_and_unit_spread(name):
    drawn = invariances.texture(name, 64, np.random.default_rng(0))
    assert drawn.shape == (64, 64, 3)
    assert abs(drawn.mean()) < 1e-5
    assert drawn.std() == pytest.approx(1, abs=1e-4)


def test_pink_is_coarser_than_white_and_blue_finer():
    def roughness(name):
        return np.abs(np.diff(invariances.texture(name, 64, np.random.default_rng(0))[..., 0], axis=1)).mean()

    assert roughness("pink") < roughness("white") < roughness("blue")


def test_grey_is_luminance():
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[..., 1] = 200
    assert np.unique(invariances.grey(pixels)).tolist() == [round(200 * 0.587)]


def test_noise_of_every_level_is_the_same_draw():
    flat = np.full((32, 32, 3), 128, np.uint8)
    weak, strong = (invariances.noise(flat, spread).astype(float) - 128 for spread in (10, 20))
    assert np.corrcoef(weak.ravel(), strong.ravel())[0, 1] > 0.99
