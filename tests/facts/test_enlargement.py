"""Factors of enlargement, and what is not taken for one."""

import io

import numpy as np
import pytest
from helpers.photographs import half, jpeg, photograph, reopened
from PIL import Image, ImageFilter

from qfm_metric.facts.enlargement import LEAST_SIDE, enlargement_factor

KERNELS = [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
PHOTOGRAPHS = ["astronaut.png", "coffee.png", "motorcycle_left.png"]
BY_BIN = 0.02  # factors are told apart by the widths of 1/512 of the spectrum, at 4 by less than 1 %


def scaled(image, factor, kernel=Image.Resampling.BICUBIC):
    return image.resize((round(image.width * factor), round(image.height * factor)), kernel)


def noisy(image, deviation):
    pixels = np.asarray(image)
    noise = np.random.default_rng(0).normal(0, deviation, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def found(image):
    return enlargement_factor(np.asarray(image))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("factor", [1.5, 1.6, 2, 2.4, 3, 4])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_factor_is_found(name, factor, kernel):
    assert found(scaled(half(photograph(name)), factor, kernel)) == pytest.approx(factor, rel=BY_BIN)


@pytest.mark.parametrize("factor", [1.75, 2, 3, 4])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_factor_is_found_in_a_jpeg(name, factor):
    assert found(reopened(jpeg(scaled(half(photograph(name)), factor), 90))) == pytest.approx(factor, rel=BY_BIN)


@pytest.mark.parametrize("kernel", KERNELS)
def test_half_the_factor_is_not_taken_for_it(kernel):
    # Two fifths are as coherent as one fifth: the mirror of the mirror.
    assert found(scaled(half(photograph("astronaut.png")), 5, kernel)) == pytest.approx(5, rel=BY_BIN)


def test_whole_factors_of_repeated_pixels_are_found():
    for factor in (2, 3, 4):
        small = half(photograph("coffee.png"))
        assert found(scaled(small, factor, Image.Resampling.NEAREST)) == pytest.approx(factor, rel=BY_BIN)


@pytest.mark.parametrize(
    "edit",
    [
        lambda image: image,
        half,
        lambda image: scaled(image, 0.6),
        lambda image: image.filter(ImageFilter.GaussianBlur(1)),
        lambda image: image.filter(ImageFilter.GaussianBlur(3)),
        lambda image: image.filter(ImageFilter.BoxBlur(2)),
        lambda image: image.filter(ImageFilter.UnsharpMask(2, 150, 0)),
        lambda image: noisy(image, 5),
        lambda image: reopened(jpeg(image, 75)),
        lambda image: reopened(jpeg(image.filter(ImageFilter.GaussianBlur(2)), 50)),
    ],
)
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_other_changes_are_not_taken_for_it(name, edit):
    assert found(edit(photograph(name))) == 1


@pytest.mark.parametrize("shape", [(300, 300), (128, 3000), (700, 131)])
def test_pictures_without_detail_are_not_taken_for_it(shape):
    ramp = np.add.outer(np.linspace(0, 0.4, shape[0]), np.linspace(0, 0.6, shape[1]))
    noise = np.random.default_rng(0).random(shape)
    for pixels in (np.zeros(shape), ramp, np.rint(ramp * 255).astype(np.uint8), noise):
        assert enlargement_factor(pixels) == 1


def test_stripes_are_not_taken_for_it():
    # Every row is the same, so all frequencies are coherent with all others.
    stripes = np.tile(np.random.default_rng(0).random(512), (512, 1))
    assert enlargement_factor(stripes) == 1


def test_four_thirds_is_passed_over():
    assert found(scaled(half(photograph("astronaut.png")), 4 / 3)) == 1  # as docs/facts.md says


def test_small_pictures_tell_nothing():
    image = scaled(half(photograph("astronaut.png")), 2)
    assert found(image.crop((0, 0, LEAST_SIDE - 1, 512))) is None
    assert found(image.crop((100, 100, 100 + LEAST_SIDE, 400))) == pytest.approx(2, rel=BY_BIN)


def test_the_part_with_detail_decides():
    pixels = np.full((2048, 2048, 3), 90, dtype=np.uint8)
    pixels[1536:, 768:1280] = scaled(half(photograph("astronaut.png")), 2)
    assert enlargement_factor(pixels) == pytest.approx(2, rel=BY_BIN)
    assert found(reopened(jpeg(Image.fromarray(pixels), 85))) == pytest.approx(2, rel=BY_BIN)


def test_every_kind_of_pixels_gives_the_same_factor():
    colour = np.asarray(scaled(half(photograph("coffee.png")), 2.5))
    grey = np.asarray(scaled(half(photograph("coffee.png").convert("L")), 2.5))
    opaque = np.full(grey.shape, 255, dtype=np.uint8)
    pixels = [colour, colour / 255, np.dstack([colour, opaque]), grey, np.dstack([grey, opaque])]
    pixels += [grey.astype(np.uint16) * 257, grey[..., None]]
    assert [enlargement_factor(each) for each in pixels] == [pytest.approx(2.5, rel=BY_BIN)] * len(pixels)


def test_what_is_transparent_does_not_count():
    colour = np.asarray(scaled(half(photograph("astronaut.png")), 2))
    alpha = np.zeros(colour.shape[:2], dtype=np.uint8)
    assert enlargement_factor(np.dstack([colour, alpha])) == 1


def test_the_pixels_are_left_as_they_were():
    pixels = np.asarray(photograph("coffee.png")).copy()
    enlargement_factor(pixels)
    assert np.array_equal(pixels, np.asarray(photograph("coffee.png")))


def test_a_file_of_the_picture_keeps_the_factor(tmp_path):
    file = io.BytesIO()
    scaled(half(photograph("astronaut.png")), 3).save(file, "WEBP", quality=90)
    assert found(reopened(file.getvalue())) == pytest.approx(3, rel=BY_BIN)
