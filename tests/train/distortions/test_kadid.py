"""KADID-10k's types: the contract over all types and levels, then what their definitions say in closed form."""

import colorsys
import csv
import doctest
import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qfm_metric.train import distortions
from qfm_metric.train.distortions import DATA_SETS, compose, distort
from qfm_metric.train.distortions.coding import encode_jpeg2000
from qfm_metric.train.distortions.colour import LUMINANCE, lab_from_rgb, rgb_from_lab, rgb_from_ycbcr, ycbcr_from_rgb
from qfm_metric.train.distortions.filters import curve, disk, line, otsu
from qfm_metric.train.distortions.kadid import KADID

TYPES = [(name, number) for name, types in DATA_SETS.items() for number in types]
NAMES = Path(__file__).parent / "data" / "distortion-types.csv"
# Brightness and contrast cross the clean picture. (Level 1 of blurs, 0.1 and one pixel, changes nothing; level 2 does.)
CROSSING = {18, 25}
GREY = np.full((96, 128, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def pixels(photo_path):
    with Image.open(photo_path) as image:
        return np.array(image.convert("RGB"))[100:196, 150:278]


def distance(pixels, clean):
    return float(np.sqrt(np.mean((pixels.astype(float) - clean) ** 2)))


def kadid(pixels, number, level, seed=1):
    return distort(pixels, "KADID-10k", number, level, seed)


def test_names_are_the_data_sets_own():
    with NAMES.open(encoding="utf-8") as file:
        named = {(row["data_set"], int(row["type"])): row["name"] for row in csv.DictReader(file)}
    ours = {(name, number): types[number].name for name, types in DATA_SETS.items() for number in types}
    assert ours == named
    assert len(ours) == 25 + 24


@pytest.mark.parametrize("number", KADID)
def test_every_type_and_level(pixels, number):
    kept = pixels.copy()
    rungs = [kadid(pixels, number, level) for level in range(1, 6)]
    assert np.array_equal(pixels, kept)
    for level, rung in enumerate(rungs, 1):
        assert rung.shape == pixels.shape
        assert rung.dtype == np.uint8
        assert rung.flags.writeable
        assert not np.shares_memory(rung, pixels)
        assert np.array_equal(rung, kadid(pixels, number, level))


@pytest.mark.parametrize("number", sorted(set(KADID) - CROSSING))
def test_distance_rises_with_the_level(pixels, number):
    apart = [distance(kadid(pixels, number, level), pixels) for level in range(1, 6)]
    assert all(after > before for before, after in itertools.pairwise(apart)), apart


@pytest.mark.parametrize("number", sorted(CROSSING))
def test_brightness_and_contrast_are_least_in_the_middle(pixels, number):
    apart = [distance(kadid(pixels, number, level), pixels) for level in range(1, 6)]
    assert apart[0] > apart[1] > apart[2]
    assert apart[4] > apart[3]


@pytest.mark.parametrize(("data_set", "number"), TYPES)
@pytest.mark.parametrize("shape", [(33, 47), (9, 8), (1, 1)])
def test_odd_and_tiny_pictures(data_set, number, shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert distort(picture, data_set, number, 5).shape == picture.shape


@pytest.mark.parametrize(("data_set", "number"), TYPES)
@pytest.mark.parametrize("value", [0, 128, 255])
def test_flat_pictures(data_set, number, value):
    assert distort(np.full((40, 56, 3), value, np.uint8), data_set, number, 3).shape == (40, 56, 3)


@pytest.mark.parametrize("number", [1, 2, 3, 4, 7, 8, 10, 16, 17, 18, 19, 20, 21, 22, 24, 25])
def test_grey_pictures_stay_grey(pixels, number):
    grey = np.repeat(np.round(pixels @ LUMINANCE).astype(np.uint8)[..., None], 3, axis=2)
    spread = np.ptp(kadid(grey, number, 3).astype(int), axis=2).max()
    assert spread <= 1  # L*a*b* and back rounds


def test_the_seed_changes_what_is_random_and_nothing_else(pixels):
    random = {3, 5, 11, 12, 13, 14, 15, 19, 20, 23}
    for number in KADID:
        same = np.array_equal(kadid(pixels, number, 5, seed=1), kadid(pixels, number, 5, seed=2))
        assert same == (number not in random), number


def test_blur_keeps_the_mean_and_the_range():
    edge = np.zeros((64, 64, 3), np.uint8)
    edge[:, 32:] = 255
    for number in (1, 2, 3):
        blurred = kadid(edge, number, 5)
        assert blurred.mean() == pytest.approx(edge.mean(), abs=1)
        assert (blurred.min(), blurred.max()) == (0, 255)


def test_kernels():
    assert disk(1).shape == (3, 3)
    assert disk(8).sum() == pytest.approx(1)
    # A 16 x 16 grid per pixel against pi r^2: the share of the middle pixel is one over the disk's area.
    assert disk(8)[8, 8] == pytest.approx(1 / (np.pi * 64), rel=0.01)
    np.testing.assert_allclose(line(5, 0), [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0.2] * 5, [0] * 5, [0] * 5], atol=1e-6)
    np.testing.assert_allclose(line(5, 90), line(5, 0).T, atol=1e-6)
    assert line(1, 33).tolist() == [[1.0]]


def test_saturation_in_hsv_is_that_factor(pixels):
    plain = np.array([[[200, 120, 40], [0, 255, 128]], [[0, 0, 0], [255, 255, 255]]], np.uint8)
    desaturated = kadid(plain, 7, 1)
    hue, saturation, value = colorsys.rgb_to_hsv(200, 120, 40)
    assert desaturated[0, 0] == pytest.approx(colorsys.hsv_to_rgb(hue, 0.4 * saturation, value), abs=1)
    assert np.ptp(kadid(pixels, 7, 4).astype(int), axis=2).max() <= 1  # factor 0 is grey


def test_palette_sizes(pixels):
    for level, colours in enumerate((64, 48, 32, 16, 8), 1):
        assert len(np.unique(kadid(pixels, 6, level).reshape(-1, 3), axis=0)) <= colours


def test_jpeg_is_pillows_at_the_published_quality(pixels):
    framed = pixels.copy()
    framed[:32], framed[-32:] = 0, 255  # flat black and white survive the codec, so nothing is stretched afterwards
    for level, quality in enumerate((43, 36, 24, 7, 4), 1):
        buffer = io.BytesIO()
        Image.fromarray(framed).save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as image:
            theirs = np.asarray(image)
        assert (theirs.min(), theirs.max()) == (0, 255)
        np.testing.assert_array_equal(kadid(framed, 10, level), theirs)


def test_jpeg2000_takes_the_published_ratio(pixels):
    for ratio in (16, 32, 45):
        assert len(encode_jpeg2000(pixels, "rates", ratio)) == pytest.approx(pixels.size / ratio, rel=0.1)


def test_noise_variances():
    ramp = np.stack([np.full((256, 256), 128, np.uint8)] * 3, axis=2)
    for level, variance in enumerate((0.001, 0.002, 0.003, 0.005, 0.01), 1):
        # 200,000 values: the variance's own error is 0.3 %; 1/12 of a grey level squared comes from rounding
        noise = kadid(ramp, 11, level).astype(float) - 128
        assert noise.var() / 255**2 == pytest.approx(variance, rel=0.02)
        assert abs(noise.mean()) < 0.2
    for level, variance in enumerate((0.001, 0.005, 0.01, 0.02, 0.05), 1):
        noise = kadid(ramp, 14, level).astype(float) / 128 - 1
        assert noise.var() == pytest.approx(variance, rel=0.02)
        assert np.abs(noise).max() <= np.sqrt(3 * variance) + 1 / 128  # uniform, so it ends


def test_impulses_hit_the_published_share_half_black_half_white():
    flat = np.full((256, 256, 3), 100, np.uint8)
    for level, share in enumerate((0.001, 0.005, 0.01, 0.02, 0.03), 1):
        noisy = kadid(flat, 13, level)
        # Three standard deviations of the binomial
        margin = 3 * np.sqrt(share / flat.size)
        assert np.mean(noisy != 100) == pytest.approx(share, abs=margin)
        assert np.mean(noisy == 255) == pytest.approx(share / 2, abs=margin)
        assert set(np.unique(noisy)) == {0, 100, 255}


def test_mean_shift_adds_and_stretches():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert np.array_equal(kadid(ramp, 18, 3), ramp)
    brighter = np.clip(ramp / 255 + 0.15, 0, 1)
    expected = (brighter - 0.15) / 0.85 * 255  # clipped at the top, so the range is not 0..1 any more
    np.testing.assert_allclose(kadid(ramp, 18, 1), expected, atol=0.51)


def test_curves_go_through_their_points():
    middle = np.array([0.0, 0.3, 0.5, 0.7, 1.0], np.float32)
    np.testing.assert_allclose(curve(middle, {0.3: 0.175, 0.5: 0.5, 0.7: 0.825}), [0, 0.175, 0.5, 0.825, 1], atol=1e-4)
    parabola = 0.8 * middle**2 + 0.2 * middle  # the one through (0, 0), (.5, .3) and (1, 1)
    np.testing.assert_allclose(curve(middle, {0.5: 0.3}), parabola, atol=1e-4)


def test_jitter_leaves_a_flat_picture_alone():
    assert np.array_equal(kadid(GREY, 19, 5), GREY)


def test_pixelate_repeats_pixels():
    columns = np.repeat(np.arange(0, 256, 2, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(96, axis=0)
    coarse = kadid(columns, 21, 5)
    assert len(np.unique(coarse)) == int(np.ceil(128 * (0.95 - 0.5**0.6)))


def test_quantisation_has_one_value_more_than_thresholds(pixels):
    for level, thresholds in enumerate((20, 16, 13, 10, 7), 1):
        values = np.unique(kadid(pixels, 22, level))
        assert len(values) == thresholds + 1
        assert (values[0], values[-1]) == (0, 255)


def test_otsu_parts_clusters_where_they_part():
    clusters = np.array([10, 12, 14, 100, 101, 200, 203], np.uint8)
    first, second = otsu(clusters, 2)
    assert 14 <= first < 100
    assert 101 <= second < 200


def test_blocks_and_patches_are_as_many_as_said():
    flat = np.full((384, 512, 3), 100, np.uint8)
    for level, blocks in enumerate((2, 4, 6, 8, 10), 1):
        covered = np.any(kadid(flat, 23, level) != 100, axis=2).sum()
        assert 0 < covered <= blocks * 32 * 32
    assert np.array_equal(kadid(flat, 20, 5), flat)  # patches of a flat picture look like what they cover


def test_colour_spaces_are_their_own_inverse():
    rgb = np.random.default_rng(0).random((40, 40, 3), np.float32)
    np.testing.assert_allclose(rgb_from_lab(lab_from_rgb(rgb)), rgb, atol=1e-4)
    np.testing.assert_allclose(rgb_from_ycbcr(ycbcr_from_rgb(rgb)), rgb, atol=1e-5)
    white, red = lab_from_rgb(np.array([[1, 1, 1], [1, 0, 0]], np.float32))
    np.testing.assert_allclose(white, [100, 0, 0], atol=1e-3)
    np.testing.assert_allclose(red, [53.24, 80.09, 67.20], atol=0.05)  # tables of sRGB's primaries
    np.testing.assert_allclose(ycbcr_from_rgb(np.eye(3, dtype=np.float32))[0] * 255, [81.481, 90.203, 240], atol=0.01)


def test_composition_draws_other_noise_for_each_step():
    twice = compose(GREY, [("KADID-10k", 11, 5), ("KADID-10k", 11, 5)], seed=3)
    assert np.var(twice.astype(float)) / 255**2 == pytest.approx(0.02, rel=0.05)  # variances add, the same would double
    once = compose(GREY, [("KADID-10k", 11, 5)], seed=3)
    assert np.array_equal(once, distort(GREY, "KADID-10k", 11, 5, seed=3))
    assert np.array_equal(compose(GREY, []), GREY)


def test_the_docstrings_example_runs():
    assert doctest.testmod(distortions, extraglobs={"np": np}) == (0, 2)  # failed, attempted


def test_what_is_refused(pixels):
    with pytest.raises(ValueError, match="known: KADID-10k, TID2013"):
        distort(pixels, "LIVE", 1, 1)
    with pytest.raises(ValueError, match="KADID-10k has 1 to 25"):
        distort(pixels, "KADID-10k", 26, 1)
    with pytest.raises(ValueError, match="level from 1 to 5, got 0"):
        distort(pixels, "TID2013", 1, 0)
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8 pixels, got \(96, 128\) uint8"):
        distort(pixels[..., 0], "TID2013", 1, 1)
    with pytest.raises(ValueError, match="float32"):
        distort(pixels.astype(np.float32), "TID2013", 1, 1)
