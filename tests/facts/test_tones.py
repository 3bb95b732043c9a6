"""Clipped shares and bits in use."""

import numpy as np
import pytest
from helpers.photographs import photograph
from PIL import ImageOps

from qfm_metric.facts import tones
from qfm_metric.facts.tones import count_tones

GREY = np.asarray(photograph("coffee.png").convert("L")).astype(int)


def test_clipped_shares_are_percentages_of_the_pixels():
    pixels = np.full((10, 20, 3), 128, dtype=np.uint8)
    pixels[0] = 255
    pixels[1, :10] = 0
    found = count_tones(pixels)
    assert found.highlights == pytest.approx(10)
    assert found.shadows == pytest.approx(5)


def test_a_pixel_is_clipped_if_every_channel_is():
    pixels = np.full((10, 10, 3), 128, dtype=np.uint8)
    pixels[0] = [255, 255, 200]  # yellow
    pixels[1] = [0, 0, 60]
    assert (count_tones(pixels).highlights, count_tones(pixels).shadows) == (0, 0)


def test_two_levels_from_the_end_are_clipped_and_three_are_not():
    levels = np.array([[0, 2, 3, 252, 253, 255]], dtype=np.uint8)
    for pixels in (levels, np.dstack([levels] * 3), levels / 255, levels.astype(np.uint16) * 257):
        assert count_tones(pixels).shadows == pytest.approx(100 * 2 / 6)
        assert count_tones(pixels).highlights == pytest.approx(100 * 2 / 6)


def test_a_large_picture_is_counted_in_strips_all_of_it(monkeypatch):
    pixels = np.asarray(photograph("coffee.png"))
    whole = count_tones(pixels)
    for strip in (7, 7000, 123_456):  # pixels: a row, some rows, and a last one that is shorter
        monkeypatch.setattr(tones, "_STRIP", strip)
        assert count_tones(pixels) == whole


@pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.float32])
def test_transparent_pixels_do_not_count(depth):
    full = 1 if depth == np.float32 else np.iinfo(depth).max
    pixels = np.zeros((4, 4, 2), dtype=depth)
    pixels[0] = full
    found = count_tones(pixels)
    assert (found.shadows, found.highlights) == (0, 100)


def test_a_picture_without_a_visible_pixel_has_no_bits():
    found = count_tones(np.zeros((4, 4, 4), dtype=np.uint8))
    assert (found.shadows, found.highlights, found.bits) == (0, 0, None)


def test_photographs_use_8_bits():
    for name in ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg"):
        assert count_tones(np.asarray(photograph(name))).bits == 8


def test_dark_and_pale_photographs_use_8_bits():
    assert count_tones((GREY // 4).astype(np.uint8)).bits == 8
    assert count_tones((GREY // 8 + 200).astype(np.uint8)).bits == 8


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterised_bits_are_counted(bits):
    image = photograph("astronaut.png")
    assert count_tones(np.asarray(ImageOps.posterize(image, bits))).bits == bits
    levels = np.asarray(image).astype(int) >> (8 - bits)
    assert count_tones(np.rint(levels * 255 / (2**bits - 1)).astype(np.uint8)).bits == bits


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_fewer_bits_in_16_are_counted(bits):
    levels = (GREY + np.random.default_rng(0).random(GREY.shape)) / 256  # all of them
    levels = np.rint(levels * (2**bits - 1)).astype(int)
    shifted = levels << (16 - bits)
    scaled = levels * 65535 / (2**bits - 1)
    for pixels in (shifted, np.rint(scaled), np.floor(scaled), levels):
        assert count_tones(pixels.astype(np.uint16)).bits == bits


def test_8_bits_in_16_are_counted_after_a_curve():
    assert count_tones(np.rint((GREY / 255) ** 0.8 * 65535).astype(np.uint16)).bits == 8


def test_16_bits_are_counted_in_a_picture_with_fewer_pixels_than_levels():
    pixels = np.random.default_rng(0).integers(0, 65536, (64, 64)).astype(np.uint16)
    assert count_tones(pixels).bits == 16


def test_stretched_contrast_costs_a_bit():
    assert count_tones(np.clip(GREY * 2 - 128, 0, 255).astype(np.uint8)).bits == 7


def test_the_channel_with_most_bits_counts():
    pixels = np.dstack([GREY >> 4 << 4, GREY >> 5 << 5, GREY >> 6 << 6]).astype(np.uint8)
    assert count_tones(pixels).bits == 4


def test_floating_point_has_no_bits():
    assert count_tones(GREY / 255).bits is None


def test_black_and_white_is_one_bit():
    assert count_tones(np.array([[0, 255, 255]], dtype=np.uint8)).bits == 1
