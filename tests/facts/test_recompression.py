"""Traces of a compression before the last one."""

import numpy as np
import pytest
from helpers.photographs import CUSTOM_TABLE, jpeg, photograph, reopened
from PIL import Image

from qfm_metric.facts import file_facts
from qfm_metric.facts.recompression import earlier_compression

PHOTOGRAPHS = ["astronaut.png", "coffee.png", "chelsea.png"]


def found(data):
    facts = file_facts(data)
    return facts.recompressed, facts.earlier_quality


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize(("first", "second"), [(50, 75), (75, 90), (80, 95), (60, 85), (90, 85), (85, 98)])
def test_an_earlier_compression_and_its_quality_are_seen(name, first, second):
    recompressed, quality = found(jpeg(reopened(jpeg(photograph(name), first)), second))
    assert recompressed
    assert abs(quality - first) <= 2  # neighbouring qualities share most of the steps that are looked at


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("quality", [98, 95, 90, 85, 75, 60])
def test_one_compression_is_not_taken_for_two(name, quality):
    assert found(jpeg(photograph(name), quality)) == (False, None)


def test_blocks_that_lie_elsewhere_leave_no_trace():
    once = reopened(jpeg(photograph("coffee.png"), 60))
    assert found(jpeg(once.crop((3, 5, 590, 390)), 90)) == (False, None)
    assert found(jpeg(once.crop((8, 16, 592, 392)), 90)) == (True, 60)


@pytest.mark.parametrize(("table", "quality"), [(CUSTOM_TABLE, 90), (CUSTOM_TABLE, 95), ([11] * 64, 85)])
def test_custom_tables_before_are_seen_without_a_quality(table, quality):
    once = reopened(jpeg(photograph("astronaut.png"), qtables=[table, table]))
    assert found(jpeg(once, quality)) == (True, None)


def test_a_large_picture_is_looked_at_in_strips():
    wide = Image.new("RGB", (2560, 1536))
    for left in range(0, 2560, 512):
        for top in range(0, 1536, 512):
            wide.paste(photograph("astronaut.png"), (left, top))
    assert found(jpeg(wide, 90)) == (False, None)
    assert found(jpeg(reopened(jpeg(wide, 70)), 90)) == (True, 70)


def test_grey_is_looked_at_too():
    grey = photograph("coffee.png").convert("L")
    assert found(jpeg(reopened(jpeg(grey, 70)), 92)) == (True, 70)


def test_a_turned_photograph_is_looked_at_as_it_is_stored():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(reopened(jpeg(photograph("coffee.png").crop((0, 0, 595, 397)), 70)), 90, exif=exif)
    assert (file_facts(data).width, file_facts(data).height) == (397, 595)
    assert found(data) == (True, 70)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7), (8, 8), (100, 100)])
def test_a_picture_with_few_blocks_tells_nothing(size):
    assert found(jpeg(photograph("coffee.png").crop((100, 100, 100 + size[0], 100 + size[1])), 75)) == (None, None)


def test_clipped_blocks_tell_nothing():
    assert found(jpeg(Image.new("RGB", (512, 512), "white"))) == (None, None)


def test_a_flat_picture_shows_no_sign():
    assert found(jpeg(Image.new("RGB", (512, 512), "grey"))) == (False, None)


def test_files_that_store_no_brightness_tell_nothing():
    image = reopened(jpeg(photograph("coffee.png"), 60))
    rgb = jpeg(image, 90, keep_rgb=True)
    assert found(rgb) == (None, None)
    assert found(jpeg(image.convert("CMYK"), 90)) == (None, None)
    # Either of the two signs by which decoders know RGB is enough.
    adobe = rgb.index(b"Adobe")
    without_marker = rgb[: adobe - 4] + rgb[adobe + 12 :]
    assert found(without_marker) == (None, None)
    numbered = rgb.replace(b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0").replace(
        b"\3R\0G\0B\0", b"\3\1\0\2\0\3\0"
    )
    assert numbered.count(b"R") < rgb.count(b"R")
    assert found(numbered) == (None, None)


def test_a_long_strip_is_looked_at_whole():
    luma = np.tile(np.asarray(reopened(jpeg(photograph("coffee.png").convert("L").crop((0, 160, 600, 216)), 60))), 30)
    steps = np.ones(64, dtype=int)
    assert luma.size > 640_000
    assert earlier_compression(luma, steps) == (True, 60)
