"""The check of the head with a reference: order, ladders, shifts, generative texture, and what PSNR and SSIM say."""

import numpy as np
import pytest
import torch
from helpers.small_world import fresh_net
from scipy import ndimage

from qfm_metric import QFMReference, QFMScore
from qfm_metric.train.esrgan import FACTOR, interpolated
from qfm_metric.train.reference import fit_head, with_head
from qfm_metric.train.reference_check import (
    MOST_PSNR,
    SHIFT,
    SHIFTS,
    Answers,
    ask,
    cut,
    esrgan_figures,
    figures,
    look,
    monotone,
    psnr,
    shift_figures,
    ssim,
)
from qfm_metric.train.severity import DistortionLevel


@pytest.fixture(scope="module")
def net(pairs):
    return with_head(fresh_net(), fit_head(pairs, steps=3))


@pytest.fixture(scope="module")
def picture():
    """Soft shapes, so that a shift changes a little."""
    noise = np.random.default_rng(0).standard_normal((120, 160, 3))
    shapes = ndimage.gaussian_filter(noise, (3, 3, 0))
    return (128 + 90 * shapes / np.abs(shapes).max()).astype(np.uint8)


def levels_of(*means, type=1):
    return [DistortionLevel("KADID-10k", type, "blur", i, mean, mean / 5) for i, mean in enumerate(means, start=1)]


def test_a_ladder_that_rises_where_people_fell_is_not_monotone():
    levels = levels_of(4.5, 4.3, 2.0) + levels_of(4.0, 3.0, 2.0, type=2)
    falling = [0.9, 0.8, 0.2, 0.8, 0.5, 0.1]
    assert monotone(np.array([falling, falling]).T, levels) == 1
    # The first two are too near to each other for people to tell; the second ladder rises.
    mixed = [0.8, 0.9, 0.2, 0.8, 0.1, 0.5]
    assert monotone(np.array([falling, mixed]).T, levels) == 3 / 4


def test_figures_are_of_each_answer_and_of_those_that_are_there():
    levels = levels_of(4.5, 3.5, 2.0)
    kept = np.array([[0.9], [0.7], [0.3]])
    beside = {f"shifted{of}": values for of, values in (("", kept), ("_psnr", -kept), ("_ssim", kept))}
    found = figures(Answers(kept, kept - 0.1, np.full((3, 1), np.nan), -kept, kept, **beside), levels)
    agree = {"kept": 1, "psnr": -1, "ssim": 1, "shifted": 1, "shifted_psnr": -1, "shifted_ssim": 1}
    assert found["KADID-10k"] == agree | {"pairs_right": 1}
    assert found["swap"] == pytest.approx([0.1, 0.1])


def test_psnr_and_ssim_are_those_of_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    noisy = np.clip(pixels + rng.normal(0, 9, pixels.shape), 0, 255).astype(np.uint8)
    assert psnr(noisy, pixels) == pytest.approx(peak_signal_noise_ratio(pixels, noisy))
    assert psnr(pixels, pixels) == 100
    assert ssim(pixels, pixels) == 1
    assert 0 < ssim(noisy, pixels) < 1


def test_what_is_looked_at_is_what_the_metric_compares(pairs):
    net = with_head(fresh_net(), fit_head(pairs, steps=3))
    rng = np.random.default_rng(0)
    one, other = (rng.integers(0, 256, (300, 400, 3)).astype(np.uint8) for _ in range(2))
    with torch.inference_mode():
        expected = net.reference(look(net, one), look(net, other))
    images = [torch.from_numpy(pixels).permute(2, 0, 1) for pixels in (one, other)]
    # Division by 255 in another order.
    torch.testing.assert_close(QFMReference(QFMScore(net))(*images), expected, atol=1e-6, rtol=0)


def test_cuts_of_one_size_lie_where_they_are_said_to():
    rows, columns = np.mgrid[:40, :50].astype(np.uint8)
    places = np.stack([rows, columns, rows], -1)
    assert cut(places).shape == (32, 42, 3)
    for down, right in ((0, 0), (4, 0), (0, 4), (2, 1)):
        assert cut(places, down, right).shape == cut(places).shape
        assert np.array_equal(cut(places, down, right)[0, 0, :2], [4 + down, 4 + right])


def test_a_larger_shift_costs_more_by_each_measure(net, picture):
    found = shift_figures(net, [picture])
    assert list(found) == [str(shift) for shift in SHIFTS]
    for name in ("kept", "psnr", "ssim"):
        values = [found[str(shift)][name] for shift in SHIFTS]
        assert values == sorted(values, reverse=True)
        assert values[0] < (MOST_PSNR if name == "psnr" else 1)


def test_a_shifted_answer_is_of_the_distorted_picture_beside_the_clean_one(net, picture):
    (level,) = levels_of(4.0)
    clean = DistortionLevel("TID2013", 16, "mean shift", 1, 6.0, 0.9)
    found = ask(net, [picture], [level, clean], {})
    moved, still = cut(picture, right=SHIFT), cut(picture)
    assert found.shifted_psnr[1, 0] < found.psnr[1, 0]  # a shift of the mean, and then of the picture
    assert found.shifted.shape == found.kept.shape == (2, 1)
    with torch.inference_mode():
        assert found.shifted[1, 0] < 1 == net.reference(look(net, still), look(net, still)).item()
    assert psnr(moved, still) > found.shifted_psnr[1, 0]


def test_what_is_made_up_is_compared_beside_what_is_interpolated(net, picture):
    said = []

    def repeat(pixels):
        return pixels.repeat(FACTOR, 0).repeat(FACTOR, 1)

    found = esrgan_figures(QFMReference(QFMScore(net)), [picture], repeat, said.append)
    assert list(found) == ["clean", "ESRGAN 2", "ESRGAN 4", "bicubic 2", "bicubic 4"]
    assert found["clean"] | {"score": 0} == {"kept": 1, "psnr": MOST_PSNR, "ssim": 1, "score": 0}
    for name in ("psnr", "ssim"):  # pixels that are repeated are further off
        assert found["bicubic 4"][name] > found["ESRGAN 4"][name] < found["ESRGAN 2"][name]
    assert found["bicubic 4"]["kept"] < 1
    assert said == ["ESRGAN: 1/1"]
    again = esrgan_figures(QFMReference(QFMScore(net)), [picture], interpolated)
    assert again["ESRGAN 4"] == again["bicubic 4"]
