"""Quality from quantisation tables."""

import struct

import numpy as np
import pytest
from helpers.photographs import CUSTOM_TABLE, half, jpeg, photograph
from PIL import Image

from qfm_metric.facts import file_facts
from qfm_metric.facts.jpeg import file_quality, standard_tables, table_quality

SMALL = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8))
ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8) * (-1) ** (i // 8 + i % 8 + 1)))


def with_deep_tables(data, tables):
    """A JPEG file with its quantisation tables replaced by ones of 16 bits, as encoders write that keep no baseline."""
    out, at = data[:2], 2
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        if data[at + 1] != 0xDB:
            out += data[at : at + 2 + length]
        at += 2 + length
    for number, table in enumerate(tables):
        steps = struct.pack(">64H", *(int(table[i]) for i in ZIGZAG))
        out += b"\xff\xdb" + struct.pack(">HB", 2 + 1 + 128, 0x10 | number) + steps
    return out + data[at:]


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": 0}),
        ("RGB", {"subsampling": 2}),
        ("RGB", {"progressive": True}),
        ("RGB", {"keep_rgb": True}),
        ("L", {}),
        ("CMYK", {}),
    ],
)
def test_every_quality_of_libjpeg_is_found(mode, options):
    image = SMALL.convert(mode)
    for written in range(1, 101):
        facts = file_facts(jpeg(image, written, **options))
        assert (facts.jpeg_quality, facts.jpeg_tables) == (written, "standard")


def test_steps_above_255_are_found_too():
    # cjpeg without -baseline writes them below a quality of 24.
    for written in range(5, 24):
        tables = [standard_tables(chrominance, 32767)[written - 1] for chrominance in (False, True)]
        assert max(tables[0]) > 255
        assert file_facts(with_deep_tables(jpeg(SMALL), tables)).jpeg_quality == written


def test_tables_of_another_kind_are_custom():
    facts = file_facts(jpeg(half(photograph("astronaut.png")), qtables=[CUSTOM_TABLE, CUSTOM_TABLE]))
    assert (facts.jpeg_quality, facts.jpeg_tables) == (None, "custom")


def test_a_custom_table_for_colour_makes_the_file_custom():
    standard = standard_tables()[74].tolist()
    assert file_quality({0: standard, 1: [7] * 64}, [0, 1, 1]) is None
    assert file_quality({0: standard, 1: [7] * 64}, [0]) == 75  # it is of no component


def test_colour_may_have_a_quality_of_its_own():
    tables = {0: standard_tables()[89].tolist(), 1: standard_tables(chrominance=True)[69].tolist()}
    assert file_quality(tables, [0, 1, 1]) == 90


def test_colour_may_share_the_table_of_brightness():
    assert file_quality({0: standard_tables()[89].tolist()}, [0, 0, 0]) == 90
    assert file_quality({3: standard_tables()[89].tolist(), 5: standard_tables()[89].tolist()}, [3, 5, 5]) == 90


def test_other_ways_of_rounding_are_standard():
    for written in (30, 50, 75, 90):
        scale = (5000 / written if written < 50 else 200 - 2 * written) / 100
        cut_off = np.clip(np.floor(standard_tables()[49] * scale), 1, 255).astype(int)  # at 50 the table is itself
        assert abs(table_quality(cut_off.tolist()) - written) <= 1  # half a step off everywhere, on average


def test_formats_without_tables_have_no_quality(tmp_path):
    SMALL.save(tmp_path / "a.png")
    facts = file_facts(tmp_path / "a.png")
    assert facts.jpeg_quality is facts.jpeg_tables is facts.recompressed is facts.earlier_quality is None


def test_several_pictures_in_one_jpeg_file_count_by_the_first(tmp_path):
    SMALL.save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=[SMALL], quality=83)
    assert file_facts(tmp_path / "a.mpo").jpeg_quality == 83
